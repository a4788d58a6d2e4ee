const viewOf = ({ buffer, byteOffset, byteLength }: Buffer): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** Appends little-endian values to a buffer that grows. Not a stream: `finish` gives what was written. */
export class ByteWriter {
  #buffer: Buffer;
  /** Of the same bytes: it takes a BigInt as it is, where a Buffer makes six of it. */
  #view: DataView;
  #at = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(Math.max(16, capacity));
    this.#view = viewOf(this.#buffer);
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
      this.#view = viewOf(grown);
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
    this.#view.setBigInt64(at, value, true);
  }

  bytes(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  /** A range of another buffer, without a view of it. */
  copy(source: Buffer, start: number, end: number): void {
    const at = this.#room(end - start);
    source.copy(this.#buffer, at, start, end);
  }

  /** UTF-8 of at most 255 bytes, cut between characters, its length before it. */
  text8(value: string): void {
    if (!this.#ascii8(value)) this.#utf8(value);
  }

  /** Names of users are mostly so short that asking native code for their bytes costs more than the loop. */
  #ascii8(value: string): boolean {
    const { length } = value;
    if (length > 32) return false;
    const start = this.#at;
    this.u8(length);
    const at = this.#room(length);
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.#at = start;
        return false;
      }
      this.#buffer[at + i] = code;
    }
    return true;
  }

  #utf8(value: string): void {
    const bytes = Buffer.from(value);
    let length = Math.min(255, bytes.length);
    while (length < bytes.length && (bytes[length]! & 0xc0) === 0x80) length--;
    this.u8(length);
    this.bytes(bytes.subarray(0, length));
  }

  patchU16(at: number, value: number): void {
    this.#buffer.writeUInt16LE(value, at);
  }

  patchU32(at: number, value: number): void {
    this.#buffer.writeUInt32LE(value, at);
  }

  /** Starts anew in the same memory: views of it are good no longer. */
  clear(): void {
    this.#at = 0;
  }

  /** A view of what was written so far; later appends may leave it behind. */
  view(start = 0, end = this.#at): Buffer {
    return this.#buffer.subarray(start, end);
  }

  /** What was written, in memory that nothing else uses, so that it may be transferred; the writer is empty afterwards. */
  take(): Buffer {
    const { buffer, byteLength } = this.#buffer;
    if (buffer.byteLength !== byteLength) return this.finish(); // of the pool
    const bytes = this.view();
    this.#buffer = Buffer.allocUnsafe(16);
    this.#at = 0;
    return bytes;
  }

  /** A copy of its own, so that it may be transferred; the writer is empty afterwards. */
  finish(): Buffer {
    const bytes = Buffer.alloc(this.#at);
    this.#buffer.copy(bytes, 0, 0, this.#at);
    this.#at = 0;
    return bytes;
  }
}
