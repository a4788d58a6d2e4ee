import { TmError } from './errors.ts';

/** Reads little-endian values; every read is checked against the end, since the bytes may come from anywhere. */
export class ByteReader {
  readonly buffer: Buffer;
  #at: number;
  #end: number;

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    this.buffer = buffer;
    this.#at = start;
    this.#end = end;
  }

  /** Goes on with another range of the buffer: one reader for many records. */
  enter(start: number, end: number): this {
    this.#at = start;
    this.#end = end;
    return this;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  skip(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw new TmError('TM1605', `${bytes} bytes wanted at ${at} of ${this.#end}`);
    this.#at = at + bytes;
    return at;
  }

  u8(): number {
    return this.buffer[this.skip(1)]!;
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.skip(4));
  }

  u64(): number {
    const at = this.skip(8);
    const value = this.buffer.readUInt32LE(at) + this.buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
    if (!Number.isSafeInteger(value)) throw new TmError('TM1605', 'a length over 2^53');
    return value;
  }

  i64(): bigint {
    return this.buffer.readBigInt64LE(this.skip(8));
  }

  /** A view of its own, not a copy: who reads records tells groups apart by it. */
  bytes(length: number): Buffer {
    const at = this.skip(length);
    return this.buffer.subarray(at, at + length);
  }

  text8(): string {
    return this.bytes(this.u8()).toString('utf8');
  }

  end(): void {
    if (this.remaining !== 0) throw new TmError('TM1605', `${this.remaining} bytes too many`);
  }
}
