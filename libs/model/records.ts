import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { HINTS_BYTES } from './entry.ts';
import { TmError } from './errors.ts';
import { MAX_PATH_BYTES, type TreePath } from './tree-path.ts';

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

/** Where the parts of a record lie in one buffer; of one that is gone only path and name. */
export interface RecordParts {
  readonly source: Buffer;
  readonly dirAt: number;
  readonly dirLength: number;
  readonly nameAt: number;
  readonly nameLength: number;
  readonly stateAt: number;
  readonly stateLength: number;
  readonly hintsAt: number;
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
  /** The same as a view of a body, which nobody writes to. */
  #viewed: Buffer | undefined;
  #countAt = 0;
  #inGroup = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#out.length;
  }

  /** Ends the group: the next record starts one, also when it is of the same directory. */
  endGroup(): void {
    this.#dir = undefined;
  }

  /** Starts a group unless the last record was of the same directory. */
  #enter(dir: TreePath): void {
    if (this.#dir && this.#inGroup < 0xffff && (dir === this.#dir || this.#dir.equals(dir))) return;
    this.#out.u16(dir.length);
    this.#out.bytes(dir);
    this.#countAt = this.#out.length;
    this.#out.u16(0);
    this.#dir = Buffer.from(dir);
    this.#viewed = undefined;
    this.#inGroup = 0;
  }

  /** The name has to follow. */
  #begin(op: RecordOp, dir: TreePath, nameLength: number): void {
    this.#enter(dir);
    this.#inGroup++;
    this.#count++;
    this.#out.patchU16(this.#countAt, this.#inGroup);
    this.#out.u8(op);
    this.#out.u8(nameLength);
  }

  #named(op: RecordOp, dir: TreePath, name: Buffer): void {
    this.#begin(op, dir, name.length);
    this.#out.bytes(name);
  }

  present(dir: TreePath, name: Buffer, state: Buffer, hints: Buffer): void {
    this.#named(RecordOp.present, dir, name);
    this.#out.u32(state.length);
    this.#out.bytes(state);
    this.#out.bytes(hints);
  }

  gone(dir: TreePath, name: Buffer): void {
    this.#named(RecordOp.gone, dir, name);
  }

  kept(dir: TreePath, name: Buffer, code: number): void {
    this.#named(RecordOp.kept, dir, name);
    this.#out.u16(code);
  }

  /** A record that is bytes already. */
  copyView({ dir, bytes }: RecordView): void {
    if (dir !== this.#viewed || !this.#dir || this.#inGroup >= 0xffff) {
      this.#enter(dir);
      this.#viewed = dir;
    }
    this.#inGroup++;
    this.#count++;
    this.#out.patchU16(this.#countAt, this.#inGroup);
    this.#out.bytes(bytes);
  }

  /** As `present` or `gone`, without views of the parts. */
  copy(op: Exclude<RecordOp, typeof RecordOp.kept>, parts: RecordParts): void {
    const { source, dirAt, dirLength, nameAt, nameLength, stateAt, stateLength, hintsAt } = parts;
    const dir = this.#dir;
    const isSame = dir && source.compare(dir, 0, dir.length, dirAt, dirAt + dirLength) === 0;
    this.#begin(op, isSame ? dir : source.subarray(dirAt, dirAt + dirLength), nameLength);
    this.#out.copy(source, nameAt, nameAt + nameLength);
    if (op !== RecordOp.present) return;
    this.#out.u32(stateLength);
    this.#out.copy(source, stateAt, stateAt + stateLength);
    this.#out.copy(source, hintsAt, hintsAt + HINTS_BYTES);
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

/** A present record where it lies in its body: nothing is made of it until it is asked for. */
export class RecordView implements EntryRecord {
  readonly op = RecordOp.present;
  readonly code = 0;
  readonly dir: TreePath;
  readonly #body: Buffer;
  readonly #name: number;
  readonly #state: number;
  readonly #hints: number;

  constructor(body: Buffer, dir: TreePath, at: { name: number; state: number; hints: number }) {
    this.#body = body;
    this.dir = dir;
    this.#name = at.name;
    this.#state = at.state;
    this.#hints = at.hints;
  }

  get name(): Buffer {
    return this.#body.subarray(this.#name, this.#state - 4);
  }

  get state(): Buffer {
    return this.#body.subarray(this.#state, this.#hints);
  }

  get hints(): Buffer {
    return this.#body.subarray(this.#hints, this.#hints + HINTS_BYTES);
  }

  /** The record as it stands in a group, for `RecordWriter.copyView`. */
  get bytes(): Buffer {
    return this.#body.subarray(this.#name - 2, this.#hints + HINTS_BYTES);
  }
}

/** Views of a body of present records, checked as `readRecords` does; throws TM1605 for any other one too. */
export function* viewRecords(body: Buffer): Generator<RecordView> {
  const cursor = new RecordCursor(body);
  let dir = cursor.dir();
  for (let group = 0; cursor.next(); group = cursor.group) {
    if (cursor.op !== RecordOp.present) throw new TmError('TM1605', 'a record of another op');
    if (cursor.group !== group) dir = cursor.dir();
    const { nameAt: name, stateAt: state, stateLength } = cursor;
    yield new RecordView(body, dir, { name, state, hints: state + stateLength });
  }
}

/**
 * Steps through a body without an object for each record. Positions are of the body's bytes; a present record's hints
 * follow its state. Throws TM1605 where the body is malformed.
 */
export class RecordCursor {
  readonly body: Buffer;
  readonly #input: ByteReader;
  /** Records left in the group. */
  #left = 0;
  op: RecordOp = RecordOp.present;
  /** Of the group, whose number counts from 1: its directory's length stands in the two bytes before the path. */
  group = 0;
  dirAt = 0;
  dirLength = 0;
  /** The name's length stands in the byte before it. */
  nameAt = 0;
  nameLength = 0;
  /** Of a present record; else empty. */
  stateAt = 0;
  stateLength = 0;
  /** As in EntryRecord. */
  code = 0;

  constructor(body: Buffer) {
    this.body = body;
    this.#input = new ByteReader(body);
  }

  /** False at the end. */
  next(): boolean {
    while (this.#left === 0) {
      if (this.#input.remaining === 0) return false;
      this.#enter();
    }
    this.#left--;
    this.#record();
    return true;
  }

  #enter(): void {
    this.dirLength = this.#input.u16();
    this.dirAt = this.#input.skip(this.dirLength);
    if (this.dirLength > MAX_PATH_BYTES) throw new TmError('TM1605', `path of ${this.dirLength} bytes`);
    this.group++;
    this.#left = this.#input.u16();
  }

  #record(): void {
    const input = this.#input;
    this.op = input.u8() as RecordOp;
    this.nameLength = input.u8();
    this.nameAt = input.skip(this.nameLength);
    this.#checkName();
    this.stateLength = 0;
    this.code = 0;
    if (this.op === RecordOp.present) {
      this.stateLength = input.u32();
      this.stateAt = input.skip(this.stateLength);
      input.skip(HINTS_BYTES);
    } else if (this.op === RecordOp.kept) this.code = input.u16();
    else if (this.op !== RecordOp.gone) throw new TmError('TM1605', `record of unknown op ${this.op}`);
  }

  #checkName(): void {
    if (this.nameLength === 0 && this.dirLength > 0) throw new TmError('TM1605', 'bad name');
    const end = this.nameAt + this.nameLength;
    for (let at = this.nameAt; at < end; at++) {
      const byte = this.body[at];
      if (byte === 0 || byte === 0x2f) throw new TmError('TM1605', 'bad name');
    }
  }

  dir(): TreePath {
    return this.body.subarray(this.dirAt, this.dirAt + this.dirLength);
  }

  /** The record as views of the body. */
  record(dir = this.dir()): EntryRecord {
    const { body, op, nameAt, stateAt, stateLength, code } = this;
    const name = body.subarray(nameAt, nameAt + this.nameLength);
    if (op !== RecordOp.present) return { op, dir, name, state: EMPTY, hints: EMPTY, code };
    const hintsAt = stateAt + stateLength;
    const state = body.subarray(stateAt, hintsAt);
    return { op, dir, name, state, hints: body.subarray(hintsAt, hintsAt + HINTS_BYTES), code };
  }
}

/** Reads a body; throws TM1605 where it is malformed. Records of one group have one `dir` object. */
export function* readRecords(body: Buffer): Generator<EntryRecord> {
  const cursor = new RecordCursor(body);
  let group = 0;
  let dir: TreePath = EMPTY;
  while (cursor.next()) {
    if (cursor.group !== group) dir = cursor.dir();
    group = cursor.group;
    yield cursor.record(dir);
  }
}
