import { realpathSync } from 'node:fs';
import { AT_FDCWD, check, close, ENOENT, ENOTDIR, fstat, openDirAt, Stat, statx } from '../posix/index.ts';
import { type Mount, mountsBelow, readMounts } from './mounts.ts';
import type { PathKey } from './pending.ts';
import type { FinalState, WatchOptions } from './port.ts';

/** The directory that is watched: which one it is, and where. Holds no descriptor. */
export class Root {
  readonly path: Buffer;
  /** Absolute and without symlinks; one char for each byte. */
  readonly canonical: string;
  readonly dev: bigint;
  readonly #ino: bigint;
  readonly #mountId: bigint;
  readonly #stat = new Stat();

  constructor({ rootFd, rootPath }: WatchOptions) {
    this.path = rootPath;
    check(fstat(rootFd, this.#stat), 'statx', rootPath);
    this.dev = this.#stat.dev;
    this.#ino = this.#stat.ino;
    this.#mountId = this.#stat.mountId;
    this.canonical = realpathSync.native(rootPath, { encoding: 'buffer' }).toString('latin1');
  }

  /** Why it is no longer what its path leads to; undefined when it still is. */
  lost(): FinalState | undefined {
    const stat = this.#stat;
    const error = statx(AT_FDCWD, this.path, stat, 0);
    if (error === 0 && stat.dev === this.dev && stat.ino === this.#ino && stat.mountId === this.#mountId)
      return undefined;
    if (this.#mountId !== 0n && !readMounts().some(({ id }) => id === this.#mountId)) return 'unmounted';
    if (error === -ENOENT || error === -ENOTDIR) return 'root-deleted';
    return error < 0 ? 'failed' : 'root-replaced';
  }

  /** After news that this very directory was deleted. */
  deleted(): FinalState {
    return statx(AT_FDCWD, this.path, this.#stat, 0) < 0 ? 'root-deleted' : 'root-replaced';
  }

  /** What its path leads to, whatever that is; to be closed by the caller. Or -errno. */
  open(): number {
    return openDirAt(AT_FDCWD, Buffer.from(this.canonical, 'latin1'));
  }

  /** The directory at a path below it, through no symlink; to be closed by the caller. Or -errno. */
  openBelow(path: PathKey): number {
    let fd = this.open();
    for (const name of path === '' ? [] : path.split('\0')) {
      if (fd < 0) break;
      const next = openDirAt(fd, Buffer.from(name, 'latin1'));
      close(fd);
      fd = next;
    }
    return fd;
  }

  /** The mount that it lies on itself, and those below it. */
  mount(): Mount | undefined {
    return readMounts().find(({ id }) => id === this.#mountId);
  }

  mounts(): Map<PathKey, Mount> {
    return mountsBelow(this.canonical, readMounts());
  }
}
