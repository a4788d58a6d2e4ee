import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { HINTS_BYTES } from './entry.ts';
import { TmError } from './errors.ts';
import { MAX_NAME_BYTES, MAX_PATH_BYTES, type TreePath } from './tree-path.ts';

/**
 * What one record says of a path:
 * - present: its state and hints as they are now; - gone: it no longer exists;
 * - kept: it could not be read (`code`, an error code's number), its last version stays.
 */
export const RecordOp = { present: 1, gone: 2, kept: 3 } as const;
export type RecordOp = (typeof RecordOp)[keyof typeof RecordOp];

/** Buffers are views of the body they were read from. */
export interface EntryRecord {
  readonly op: RecordOp;
  readonly dir: TreePath;
  /** Empty for the root, whose `dir` is empty too. */
  readonly name: Buffer;
  /** Encoded state (entry.ts); empty unless present. */
  readonly state: Buffer;
  readonly hints: Buffer;
  /** Of a kept record: number of the error code (1110 for TM1110), else 0. */
  readonly code: number;
}

const EMPTY = Buffer.alloc(0);

/**
 * Writes records grouped by directory, the body of change-event batches, delta-set segments and runs:
 * group = u16 length and bytes of the directory's tree path, u16 count, records;
 * record = u8 op, u8 length and bytes of the name, then
 *   present: u32 length and bytes of the state, hints (32 bytes); kept: u16 code.
 */
export class RecordWriter {
  readonly #out = new ByteWriter(64 * 1024);
  #dir: Buffer | undefined;
  #countAt = 0;
  #inGroup = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#out.length;
  }

  /** Starts a group unless the last record was of the same directory. */
  #enter(dir: TreePath): void {
    if (this.#dir && this.#inGroup < 0xffff && this.#dir.equals(dir)) return;
    this.#out.u16(dir.length);
    this.#out.bytes(dir);
    this.#countAt = this.#out.length;
    this.#out.u16(0);
    this.#dir = Buffer.from(dir);
    this.#inGroup = 0;
  }

  #begin(op: RecordOp, dir: TreePath, name: Buffer): void {
    this.#enter(dir);
    this.#inGroup++;
    this.#count++;
    this.#out.patchU16(this.#countAt, this.#inGroup);
    this.#out.u8(op);
    this.#out.u8(name.length);
    this.#out.bytes(name);
  }

  present(dir: TreePath, name: Buffer, state: Buffer, hints: Buffer): void {
    this.#begin(RecordOp.present, dir, name);
    this.#out.u32(state.length);
    this.#out.bytes(state);
    this.#out.bytes(hints);
  }

  gone(dir: TreePath, name: Buffer): void {
    this.#begin(RecordOp.gone, dir, name);
  }

  kept(dir: TreePath, name: Buffer, code: number): void {
    this.#begin(RecordOp.kept, dir, name);
    this.#out.u16(code);
  }

  record(record: EntryRecord): void {
    if (record.op === RecordOp.present) this.present(record.dir, record.name, record.state, record.hints);
    else if (record.op === RecordOp.gone) this.gone(record.dir, record.name);
    else this.kept(record.dir, record.name, record.code);
  }

  /** The body so far; the writer is empty afterwards. */
  finish(): Buffer {
    this.#dir = undefined;
    this.#count = 0;
    return this.#out.finish();
  }
}

function readRecord(input: ByteReader, dir: TreePath): EntryRecord {
  const op = input.u8() as RecordOp;
  const name = input.bytes(input.u8());
  if ((name.length === 0 && dir.length > 0) || name.includes(0) || name.includes(0x2f))
    throw new TmError('TM1605', 'bad name');
  if (op === RecordOp.present) {
    const state = input.bytes(input.u32());
    return { op, dir, name, state, hints: input.bytes(HINTS_BYTES), code: 0 };
  }
  if (op === RecordOp.gone) return { op, dir, name, state: EMPTY, hints: EMPTY, code: 0 };
  if (op === RecordOp.kept) return { op, dir, name, state: EMPTY, hints: EMPTY, code: input.u16() };
  throw new TmError('TM1605', `record of unknown op ${op}`);
}

/** Reads a body; throws TM1605 where it is malformed. */
export function* readRecords(body: Buffer): Generator<EntryRecord> {
  const input = new ByteReader(body);
  while (input.remaining > 0) {
    const dir = input.bytes(input.u16());
    if (dir.length > MAX_PATH_BYTES) throw new TmError('TM1605', `path of ${dir.length} bytes`);
    for (let n = input.u16(); n > 0; n--) {
      const record = readRecord(input, dir);
      if (record.name.length > MAX_NAME_BYTES) throw new TmError('TM1605', 'name over 255 bytes');
      yield record;
    }
  }
}
