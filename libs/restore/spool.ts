import { TmError } from '../model/errors.ts';
import { type RecordView, RecordWriter, viewRecords } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import { ScratchFile } from './scratch-file.ts';

/** Records in a temporary file, so that a plan of any size takes no memory; read forwards or backwards by batches. */
export class Spool {
  readonly #file: ScratchFile;
  readonly #writer = new RecordWriter();
  readonly #batch: number;

  constructor(folder: string, batch = 512) {
    this.#file = new ScratchFile(folder);
    this.#batch = batch;
  }

  /** What the catalogue says of an entry. Gives whether there is a batch more. */
  add(dir: TreePath, name: Buffer, state: Buffer, hints: Buffer): boolean {
    this.#writer.present(dir, name, state, hints);
    return this.#flushFull();
  }

  /** A record of another spool. */
  copy(record: RecordView): void {
    this.#writer.copyView(record);
    this.#flushFull();
  }

  #flushFull(): boolean {
    const isFull = this.#writer.count >= this.#batch || this.#writer.bytes >= 1024 * 1024;
    if (isFull) this.flush();
    return isFull;
  }

  /** Each batch is its body with its length before and after it. */
  flush(): void {
    if (this.#writer.count === 0) return;
    const body = this.#writer.finish();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length);
    this.#file.append(Buffer.concat([length, body, length]));
  }

  #batchAt(at: number, length: number): RecordView[] {
    if (at < 0 || at + length > this.#file.end) throw new TmError('TM1605', 'the plan was cut short');
    return [...viewRecords(this.#file.read(at, length))];
  }

  /** The batch that begins at `at`: the first at 0, each other one at the `end` of the one before; undefined: none yet. */
  batch(at: number): { readonly records: RecordView[]; readonly end: number } | undefined {
    if (at >= this.#file.end) return undefined;
    const length = this.#file.read(at, 4).readUInt32LE(0);
    return { records: this.#batchAt(at + 4, length), end: at + length + 8 };
  }

  *forwards(): Generator<RecordView[]> {
    for (let next = this.batch(0); next; next = this.batch(next.end)) yield next.records;
  }

  *backwards(): Generator<RecordView[]> {
    for (let at = this.#file.end; at > 0; ) {
      const length = this.#file.read(at - 4, 4).readUInt32LE(0);
      yield this.#batchAt(at - 4 - length, length).reverse();
      at -= length + 8;
    }
  }

  close(): void {
    this.#file.close();
  }
}
