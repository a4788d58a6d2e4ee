import { TmError } from '../model/errors.ts';
import { isWithin, splitPath, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';

interface Level {
  readonly path: TreePath;
  readonly fd: number;
}

/** Directories of the target by handle; what is no directory, a symlink too, is never entered. */
export class TargetTree {
  readonly #levels: Level[];

  constructor(rootFd: number) {
    this.#levels = [{ path: Buffer.alloc(0), fd: rootFd }];
  }

  /** Handle of a directory, valid until the next call. Throws PosixError (ELOOP, ENOTDIR, ENOENT …). */
  enter(path: TreePath): number {
    while (!isWithin(path, this.#levels.at(-1)!.path)) posix.close(this.#levels.pop()!.fd);
    let top = this.#levels.at(-1)!;
    const names = splitPath(path).slice(splitPath(top.path).length);
    for (const name of names) {
      checkName(name);
      const fd = posix.check(posix.openDirAt(top.fd, name), 'openat', name);
      const below =
        top.path.length === 0 ? Buffer.from(name) : Buffer.concat([top.path, Buffer.from([0]), name]);
      top = { path: below, fd };
      this.#levels.push(top);
    }
    return top.fd;
  }

  close(): void {
    for (const { fd } of this.#levels.splice(0)) posix.close(fd);
  }
}

/** Names that could lead out of the directory, or are none, are refused. */
export function checkName(name: Buffer): void {
  const text = name.toString('latin1');
  if (text === '' || text === '.' || text === '..' || text.includes('/') || text.includes('\0'))
    throw new TmError('TM1604', JSON.stringify(text));
}

/** Removes an entry and all below it, by handles; does not cross file systems. `spare`: true for what must stay. */
export function removeTree(dirFd: number, name: Buffer, spare: (stat: posix.Stat) => boolean): number {
  const stat = new posix.Stat();
  posix.check(posix.statx(dirFd, name, stat), 'statx');
  if (spare(stat)) return 0;
  if (stat.type !== posix.S_IFDIR) {
    posix.check(posix.unlinkat(dirFd, name), 'unlinkat', name);
    return 1;
  }
  const dev = stat.dev;
  const fd = posix.check(posix.openDirAt(dirFd, name), 'openat', name);
  let removed = 0;
  try {
    posix.check(posix.fstat(fd, stat), 'fstat');
    if (stat.dev !== dev) return 0;
    for (const child of namesIn(fd)) {
      posix.check(posix.statx(fd, child, stat), 'statx');
      if (stat.dev !== dev || spare(stat)) continue;
      removed += removeTree(fd, child, spare);
    }
  } finally {
    posix.close(fd);
  }
  posix.check(posix.unlinkat(dirFd, name, posix.AT_REMOVEDIR), 'unlinkat', name);
  return removed + 1;
}

/** Names in a directory, copies. */
export function namesIn(fd: number): Buffer[] {
  const own = posix.check(posix.openDirAt(fd, Buffer.from('.')), 'openat');
  try {
    const reader = new posix.DirReader(own);
    const names: Buffer[] = [];
    while (reader.next()) names.push(Buffer.from(reader.name));
    return names;
  } finally {
    posix.close(own);
  }
}
