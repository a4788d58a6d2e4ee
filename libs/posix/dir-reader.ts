import { attempt, libc } from './libc.ts';
import { PosixError } from './posix-error.ts';
import { Scratch } from './scratch.ts';

/** struct linux_dirent64 (getdents64(2)): ino u64, offset s64, record length u16, type u8, name with NUL. */
const RECORD_LENGTH = 16;
const TYPE = 18;
const NAME = 19;
const DOT = 0x2e;
const SMALLEST_BUFFER = 1024;

/**
 * Reads the names of one directory after another, in the order of the file system, starting at the
 * descriptor's present position (the beginning, when freshly opened). It owns its buffer, not the descriptor.
 */
export class DirReader {
  readonly #scratch: Scratch;
  #fd: number;
  #record = 0;
  #nextRecord = 0;
  #end = 0;
  #atEnd = false;

  constructor(fd: number, bufferBytes: number = 64 * 1024) {
    if (bufferBytes < SMALLEST_BUFFER) throw new RangeError(`a buffer of ${bufferBytes} bytes is too small`);
    this.#scratch = new Scratch(bufferBytes);
    this.#fd = fd;
  }

  /** Goes on with another directory; what was unread of the one before is dropped. */
  reset(fd: number): void {
    this.#fd = fd;
    this.#nextRecord = 0;
    this.#end = 0;
    this.#atEnd = false;
  }

  /**
   * Moves to the next name except `.` and `..`; false at the end. Throws PosixError: then the names seen so far
   * are not all there are.
   */
  next(): boolean {
    while (this.#nextRecord < this.#end || this.#fill()) {
      this.#take();
      if (!this.#isDots()) return true;
    }
    return false;
  }

  /** A view into the reader's buffer, valid until the next call of next() or reset(); copy it to keep it. */
  get name(): Buffer {
    const start = this.#record + NAME;
    return this.#scratch.bytes.subarray(start, this.#scratch.bytes.indexOf(0, start));
  }

  /** Bytes that the name has at most, with its NUL. */
  get nameRoom(): number {
    return this.#nextRecord - this.#record - NAME;
  }

  /** Copies the name and its NUL to `out` from `at` on, which has `nameRoom`; gives its length without the NUL. */
  copyName(out: Uint8Array, at: number): number {
    const { bytes } = this.#scratch;
    let length = 0;
    for (let from = this.#record + NAME; ; length++) {
      const byte = bytes[from + length]!;
      out[at + length] = byte;
      if (byte === 0) return length;
    }
  }

  /** One of DT_*, DT_UNKNOWN included. */
  get type(): number {
    return this.#scratch.bytes[this.#record + TYPE]!;
  }

  /** At a mount point this is the covered directory's, where statx gives the mounted one's. */
  get ino(): bigint {
    return this.#scratch.bytes.readBigUInt64LE(this.#record);
  }

  #fill(): boolean {
    if (this.#atEnd) return false;
    const { address, bytes } = this.#scratch;
    const read = attempt(() => libc.getdents64(this.#fd, address, bytes.length));
    if (read < 0) throw new PosixError(read, 'getdents64');
    this.#nextRecord = 0;
    this.#end = read;
    this.#atEnd = read === 0;
    return read > 0;
  }

  #take(): void {
    const { bytes } = this.#scratch;
    const record = this.#nextRecord;
    this.#record = record;
    this.#nextRecord = record + bytes[record + RECORD_LENGTH]! + bytes[record + RECORD_LENGTH + 1]! * 256;
  }

  #isDots(): boolean {
    const { bytes } = this.#scratch;
    const start = this.#record + NAME;
    if (bytes[start] !== DOT) return false;
    return bytes[start + 1] === 0 || (bytes[start + 1] === DOT && bytes[start + 2] === 0);
  }
}
