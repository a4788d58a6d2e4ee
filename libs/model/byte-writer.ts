/** Appends little-endian values to a buffer that grows. Not a stream: `finish` gives what was written. */
export class ByteWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(Math.max(16, capacity));
  }

  get length(): number {
    return this.#at;
  }

  #room(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, at + bytes));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#at = at + bytes;
    return at;
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#buffer[at] = value;
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#buffer.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  /** A whole number from 0 to 2^53 - 1 in 8 bytes. */
  u64(value: number): void {
    const at = this.#room(8);
    this.#buffer.writeUInt32LE(value % 0x1_0000_0000, at);
    this.#buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
  }

  i64(value: bigint): void {
    const at = this.#room(8);
    this.#buffer.writeBigInt64LE(value, at);
  }

  bytes(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  /** UTF-8 of at most 255 bytes, its length before it. */
  text8(value: string): void {
    const bytes = Buffer.from(value);
    this.u8(Math.min(255, bytes.length));
    this.bytes(bytes.subarray(0, 255));
  }

  patchU16(at: number, value: number): void {
    this.#buffer.writeUInt16LE(value, at);
  }

  patchU32(at: number, value: number): void {
    this.#buffer.writeUInt32LE(value, at);
  }

  /** A view of what was written so far; later appends may leave it behind. */
  view(start = 0, end = this.#at): Buffer {
    return this.#buffer.subarray(start, end);
  }

  /** A copy of its own, so that it may be transferred; the writer is empty afterwards. */
  finish(): Buffer {
    const bytes = Buffer.alloc(this.#at);
    this.#buffer.copy(bytes, 0, 0, this.#at);
    this.#at = 0;
    return bytes;
  }
}
