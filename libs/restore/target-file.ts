import * as posix from '../posix/index.ts';
import type { AttributeResult, EntryHandle } from './attributes.ts';

/** Names for unfinished files: a random beginning per thread and a number. O_EXCL decides, not chance. */
export class TemporaryNames {
  readonly #prefix: string;
  #next = 0;

  /** `random`: a few bytes that no other thread has. */
  constructor(random: Buffer) {
    this.#prefix = `.tidemark-${random.toString('hex')}-`;
  }

  next(): Buffer {
    return Buffer.from(`${this.#prefix}${this.#next++}`);
  }
}

const NEW_FILE = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_NOCTTY;

/**
 * A file that is being written. Where its name is taken it gets another one until it is whole; where the directory
 * was made by this restore it is made under its own, and removed again should it fail.
 */
export class TargetFile {
  readonly fd: number;
  readonly #dirFd: number;
  readonly #name: Buffer;
  readonly #made: Buffer;
  #end = 0;

  /** `mode`: NewEntries.modeToMake. */
  constructor(
    { dirFd, name, mode }: { readonly dirFd: number; readonly name: Buffer; readonly mode: number },
    direct: boolean,
    names: TemporaryNames,
  ) {
    this.#dirFd = dirFd;
    this.#name = name;
    const own = direct ? posix.openat(dirFd, name, NEW_FILE, mode) : -posix.EEXIST;
    this.#made = own === -posix.EEXIST ? names.next() : name;
    const fd = own === -posix.EEXIST ? posix.openat(dirFd, this.#made, NEW_FILE, mode) : own;
    this.fd = posix.check(fd, 'openat', name);
  }

  /** The entry as it is named now, for its attributes. */
  get handle(): EntryHandle {
    return { dirFd: this.#dirFd, name: this.#made, fd: this.fd };
  }

  write(bytes: Buffer, offset: number): void {
    posix.check(posix.pwriteFully(this.fd, bytes, 0, bytes.length, offset), 'pwrite', this.#name);
    this.#end = Math.max(this.#end, offset + bytes.length);
  }

  /** Another thread wrote up to here. */
  wrote(end: number): void {
    this.#end = Math.max(this.#end, end);
  }

  /** Sets length (`size`, bytes) and attributes, and gives it its name; on an error nothing of it is left. */
  finish(size: number, attributes: (handle: EntryHandle) => AttributeResult): AttributeResult {
    let open = true;
    try {
      if (this.#end !== size) posix.check(posix.ftruncate(this.fd, size), 'ftruncate');
      const result = attributes(this.handle);
      open = false;
      posix.close(this.fd);
      if (this.#made !== this.#name)
        posix.check(posix.renameat(this.#dirFd, this.#made, this.#dirFd, this.#name), 'renameat', this.#name);
      return result;
    } catch (error) {
      if (open) this.abort();
      else posix.unlinkat(this.#dirFd, this.#made);
      throw error;
    }
  }

  abort(): void {
    try {
      posix.close(this.fd);
    } finally {
      posix.unlinkat(this.#dirFd, this.#made);
    }
  }
}
