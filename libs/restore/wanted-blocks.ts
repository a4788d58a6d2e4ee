import type { TmError } from '../model/errors.ts';

const ID_BYTES = 32;

/** Who waits for blocks, which are told apart by numbers of his own. */
export interface BlockSink {
  /** `bytes` are checked, and valid only during the call. */
  deliver(block: number, bytes: Buffer): void;
  /** One of them is missing or damaged. */
  fail(error: TmError): void;
}

/** Blocks that somebody waits for, in columns: there are thousands at a time, each for a moment only. */
export class WantedBlocks {
  #ids = Buffer.allocUnsafe(512 * ID_BYTES);
  readonly #lengths: number[] = [];
  readonly #sinks: BlockSink[] = [];
  readonly #blocks: number[] = [];

  get count(): number {
    return this.#sinks.length;
  }

  /** `ids`: where the id lies, at `at`. `block`: its number for the sink. */
  add(ids: Buffer, at: number, length: number, sink: BlockSink, block: number): void {
    const to = this.count * ID_BYTES;
    if (to === this.#ids.length) this.#ids = Buffer.concat([this.#ids], 2 * to);
    ids.copy(this.#ids, to, at, at + ID_BYTES);
    this.#lengths.push(length);
    this.#sinks.push(sink);
    this.#blocks.push(block);
  }

  /** The ids behind one another, a copy. */
  ids(): Buffer {
    const own = Buffer.from(new ArrayBuffer(this.count * ID_BYTES));
    this.#ids.copy(own);
    return own;
  }

  /** A copy. */
  id(i: number): Buffer {
    return Buffer.from(this.#ids.subarray(i * ID_BYTES, (i + 1) * ID_BYTES));
  }

  length(i: number): number {
    return this.#lengths[i]!;
  }

  /** Whether block `i` has this id. */
  has(i: number, id: Buffer): boolean {
    return this.#ids.compare(id, 0, ID_BYTES, i * ID_BYTES, (i + 1) * ID_BYTES) === 0;
  }

  deliver(i: number, bytes: Buffer): void {
    this.#sinks[i]!.deliver(this.#blocks[i]!, bytes);
  }

  fail(i: number, error: TmError): void {
    this.#sinks[i]!.fail(error);
  }
}
