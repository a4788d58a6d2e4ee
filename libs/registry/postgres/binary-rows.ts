import { TmError } from '../../model/errors.ts';

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** Signature, flags, length of the header's extension. */
const HEADER_BYTES = SIGNATURE.length + 8;
const TRAILER = -1;
const NULL = -1;
const ROOM = 320 * 1024;

const malformed = (detail: string) => new TmError('TM1303', `the answer to a COPY is malformed: ${detail}`);

/** The fields of one row, by their number; `Buffer`s are views. Good only while it is being read. */
export class BinaryRow {
  readonly #buffer: Buffer;
  /** Where each field begins, and its length (-1: null). */
  readonly #at: number[] = [];
  readonly #length: number[] = [];

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Takes the row that begins at `at`; gives where it ends, undefined where it is not whole yet. */
  enter(at: number, end: number): number | undefined {
    const buffer = this.#buffer;
    const count = buffer.readInt16BE(at);
    if (count < 0) throw malformed(`${count} fields`);
    let next = at + 2;
    for (let i = 0; i < count; i++) {
      if (next + 4 > end) return undefined;
      const length = buffer.readInt32BE(next);
      if (length < NULL) throw malformed(`a field of ${length} bytes`);
      next += 4;
      this.#at[i] = next;
      this.#length[i] = length;
      if (length > 0) next += length;
      if (next > end) return undefined;
    }
    this.#at.length = count;
    return next;
  }

  #fixed(field: number, bytes: number): number {
    if (this.#length[field] !== bytes || field >= this.#at.length)
      throw malformed(`field ${field} has not ${bytes} bytes`);
    return this.#at[field]!;
  }

  int2(field: number): number {
    return this.#buffer.readInt16BE(this.#fixed(field, 2));
  }

  /** Ours are below 2^53. */
  int8(field: number): number {
    const at = this.#fixed(field, 8);
    return this.#buffer.readInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Where in `buffer` the bytes of a field that is not null begin, and how many they are. */
  at(field: number): number {
    return this.#at[field]!;
  }

  length(field: number): number {
    const length = this.#length[field];
    if (length === undefined || length === NULL || field >= this.#at.length)
      throw malformed(`field ${field} is null`);
    return length;
  }

  bytesOrNull(field: number): Buffer | null {
    const at = this.#at[field];
    if (at === undefined) throw malformed(`no field ${field}`);
    const length = this.#length[field]!;
    return length === NULL ? null : this.#buffer.subarray(at, at + length);
  }

  bytes(field: number): Buffer {
    const bytes = this.bytesOrNull(field);
    if (bytes === null) throw malformed(`field ${field} is null`);
    return bytes;
  }

  text(field: number): string {
    return this.bytes(field).toString();
  }
}

/**
 * Reads Postgres' binary COPY format (documentation of COPY, "Binary Format") from pieces that may end anywhere. Bytes
 * are copied once, into a few large buffers that rows are views of.
 */
export class BinaryRows {
  #buffer = Buffer.allocUnsafeSlow(ROOM);
  #from = 0;
  #end = 0;
  #began = false;
  #complete = false;

  /** How much has come and is not taken. */
  get bytes(): number {
    return this.#end - this.#from;
  }

  /** The trailer has been taken: nothing is missing. */
  get complete(): boolean {
    return this.#complete;
  }

  push(piece: Uint8Array): void {
    if (this.#end + piece.length > this.#buffer.length) this.#move(piece.length);
    this.#buffer.set(piece, this.#end);
    this.#end += piece.length;
  }

  /** What is not taken goes to a new buffer; a large row doubles it, again and again. */
  #move(bytes: number): void {
    const pending = this.#buffer.subarray(this.#from, this.#end);
    const wanted = pending.length + bytes;
    this.#buffer = Buffer.allocUnsafeSlow(wanted > ROOM ? 2 * wanted : ROOM);
    this.#buffer.set(pending);
    this.#from = 0;
    this.#end = pending.length;
  }

  /** The rows that are whole. Throws TM1303 where the bytes are not of the format. */
  take<T>(read: (row: BinaryRow) => T): T[] {
    const rows: T[] = [];
    if (!this.#began && !this.#header()) return rows;
    const row = new BinaryRow(this.#buffer);
    while (this.#end - this.#from >= 2 && !this.#trailer()) {
      const next = row.enter(this.#from, this.#end);
      if (next === undefined) break;
      rows.push(read(row));
      this.#from = next;
    }
    this.#move(0);
    return rows;
  }

  #header(): boolean {
    if (this.bytes < HEADER_BYTES) return false;
    const header = this.#buffer.subarray(this.#from, this.#from + HEADER_BYTES);
    if (!header.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw malformed('no signature');
    if (header.readInt32BE(SIGNATURE.length) !== 0 || header.readInt32BE(SIGNATURE.length + 4) !== 0)
      throw malformed('unknown flags');
    this.#from += HEADER_BYTES;
    this.#began = true;
    return true;
  }

  #trailer(): boolean {
    if (this.#complete) throw malformed('bytes after the end');
    if (this.#buffer.readInt16BE(this.#from) !== TRAILER) return false;
    this.#from += 2;
    this.#complete = true;
    if (this.bytes > 0) throw malformed('bytes after the end');
    return true;
  }
}
