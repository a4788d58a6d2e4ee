import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { TmError } from '../model/errors.ts';
import { bytesToDisplay } from '../model/tree-path.ts';
import { EAGAIN, flock, LOCK_EX, LOCK_NB } from '../posix/index.ts';

/** Names a folder among those that are watched from a home. */
const watchName = (root: Buffer): string => createHash('sha256').update(root).digest('hex').slice(0, 32);

export const socketName = (root: Buffer): string => `${watchName(root)}.sock`;

/** The right to watch a folder from a home, until it is closed or the process is gone. */
export class WatchLock {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws TM1521 where another process watches it. */
  static take(folder: string, root: Buffer): WatchLock {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const fd = openSync(join(folder, `${watchName(root)}.lock`), 'w', 0o600);
    const result = flock(fd, LOCK_EX | LOCK_NB);
    if (result === 0) return new WatchLock(fd);
    closeSync(fd);
    if (result === -EAGAIN) throw new TmError('TM1521', bytesToDisplay(root));
    throw new TmError('TM1010', `${folder}: a lock is refused (${result})`);
  }

  release(): void {
    closeSync(this.#fd);
  }
}
