import { setImmediate } from 'node:timers/promises';
import { release } from '../codec/release.ts';
import * as posix from '../posix/index.ts';

/** O_NONBLOCK: a FIFO that somebody put there is refused instead of waited for. */
const READ = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY;
const KEPT_PATHS = 256;
/** Ranges of a restore and a check are up to 2 MiB; memory for those is used again, of smaller ones it is the caller's. */
const RANGE_BYTES = 2 * 1024 * 1024;
const SMALL_BYTES = 256 * 1024;
const KEPT_RANGES = 4;

/**
 * Reads packs that lie as files, without the thread that holds the store: nothing is sent and no memory is made anew. It
 * says nothing of what is wrong with a file: that one is asked then.
 */
export class PackFiles {
  readonly #pathOf: (pack: Buffer) => Promise<Buffer>;
  /** By pack; empty: it lies in no file. */
  readonly #paths = new Map<string, Promise<Buffer>>();
  readonly #ranges = new WeakSet<ArrayBufferLike>();
  readonly #free: Buffer[] = [];
  #bytes = 0;

  /** `pathOf`: empty where the pack lies in no file. */
  constructor(pathOf: (pack: Buffer) => Promise<Buffer>) {
    this.#pathOf = pathOf;
  }

  /** Undefined where the bytes can't be had this way. They are to be given back with `release`. */
  async read(pack: Buffer, offset: number, length: number): Promise<Buffer | undefined> {
    const path = await this.#path(pack);
    const fd = path.length === 0 ? -1 : posix.openat(posix.AT_FDCWD, path, READ);
    if (fd < 0) return undefined;
    try {
      // What hangs must not keep a thread, which an interrupt could not end then.
      if (posix.isNetworkFs(posix.fstatfsType(fd))) return undefined;
      posix.willNeed(fd, offset, length);
      await setImmediate(); // what was read before is worked on meanwhile
      const memory = this.#memory(length);
      if (posix.preadFully(fd, memory, 0, length, offset) === length) {
        this.#bytes += length;
        return memory.subarray(0, length);
      }
      this.release(memory);
      return undefined;
    } finally {
      posix.close(fd);
    }
  }

  #path(pack: Buffer): Promise<Buffer> {
    const key = pack.toString('latin1');
    const known = this.#paths.get(key);
    if (known) return known;
    const path = this.#pathOf(pack);
    path.catch(() => this.#paths.delete(key));
    this.#paths.set(key, path);
    for (const [oldest] of this.#paths) {
      if (this.#paths.size <= KEPT_PATHS) break;
      this.#paths.delete(oldest);
    }
    return path;
  }

  #memory(length: number): Buffer {
    if (length < SMALL_BYTES || length > RANGE_BYTES) return Buffer.allocUnsafeSlow(length);
    const free = this.#free.pop();
    if (free) return free;
    const made = Buffer.allocUnsafeSlow(RANGE_BYTES);
    this.#ranges.add(made.buffer);
    return made;
  }

  /** Nobody looks at the bytes any more. */
  release(bytes: Buffer): void {
    if (!this.#ranges.has(bytes.buffer)) release(bytes);
    else if (this.#free.length < KEPT_RANGES) this.#free.push(Buffer.from(bytes.buffer));
  }

  /** Bytes that were read since this was asked last. */
  takeCount(): number {
    const bytes = this.#bytes;
    this.#bytes = 0;
    return bytes;
  }
}
