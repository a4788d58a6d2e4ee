import * as posix from '../posix/index.ts';

let reader: posix.DirReader | undefined;

/** The names in a directory, sorted by bytes, in one piece of memory: directories are many, and so are names. */
export class NameList {
  #bytes = Buffer.allocUnsafe(512);
  /** Where each name ends; it begins where the one before it ends. */
  readonly #ends: number[] = [];
  readonly #order: Uint32Array;

  /** Moves the handle's position. Throws PosixError. */
  constructor(fd: number) {
    posix.check(posix.lseek(fd, 0, posix.SEEK_SET), 'lseek');
    reader ??= new posix.DirReader(fd);
    reader.reset(fd);
    let end = 0;
    while (reader.next()) {
      const { name } = reader;
      if (end + name.length > this.#bytes.length)
        this.#bytes = Buffer.concat([this.#bytes], 2 * this.#bytes.length);
      this.#bytes.set(name, end);
      end += name.length;
      this.#ends.push(end);
    }
    this.#order = Uint32Array.from(this.#ends.keys()).sort((a, b) =>
      this.#compare(a, this.#bytes, this.#start(b), this.#ends[b]!),
    );
  }

  get length(): number {
    return this.#ends.length;
  }

  /** Number `i` in order; a view. */
  at(i: number): Buffer {
    const n = this.#order[i]!;
    return this.#bytes.subarray(this.#start(n), this.#ends[n]!);
  }

  /** Below 0: name number `i` comes before this one. */
  compare(i: number, name: Buffer): number {
    return this.#compare(this.#order[i]!, name, 0, name.length);
  }

  #start(n: number): number {
    return n === 0 ? 0 : this.#ends[n - 1]!;
  }

  #compare(n: number, other: Buffer, otherStart: number, otherEnd: number): number {
    const bytes = this.#bytes;
    const end = this.#ends[n]!;
    for (let at = this.#start(n), otherAt = otherStart; at < end && otherAt < otherEnd; at++, otherAt++) {
      const order = bytes[at]! - other[otherAt]!;
      if (order !== 0) return order;
    }
    return end - this.#start(n) - (otherEnd - otherStart);
  }
}
