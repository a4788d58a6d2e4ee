import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { TmError } from '../model/errors.ts';

/** A file without a name that lives as long as it is open: memory for what may grow with the number of entries. */
export class ScratchFile {
  readonly #fd: number;
  #end = 0;

  constructor(folder: string) {
    const path = join(folder, `scratch-${process.pid}-${randomBytes(6).toString('hex')}`);
    this.#fd = openSync(path, 'wx+', 0o600);
    rmSync(path);
  }

  get end(): number {
    return this.#end;
  }

  /** Gives the position of the bytes. */
  append(bytes: Buffer): number {
    const at = this.#end;
    this.write(at, bytes);
    return at;
  }

  write(at: number, bytes: Buffer): void {
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    } catch (error) {
      throw new TmError('TM1010', `its spool folder: ${(error as Error).message}`, { cause: error });
    }
    this.#end = Math.max(this.#end, at + bytes.length);
  }

  /** What was never written reads as zeros. */
  read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = readSync(this.#fd, bytes, done, length - done, at + done);
      if (count === 0) break;
      done += count;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
