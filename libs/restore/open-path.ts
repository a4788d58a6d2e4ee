import { isWithin, joinPath, splitPath, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { checkName } from './check-name.ts';

/** Opens directories below the target one after another, by handles; neighbours share those on the way. */
export class OpenPath {
  readonly #levels: { readonly path: TreePath; readonly fd: number }[];

  constructor(rootFd: number) {
    this.#levels = [{ path: Buffer.alloc(0), fd: rootFd }];
  }

  /** A handle that is valid until the next call. Throws PosixError (ELOOP, ENOTDIR, ENOENT …). */
  enter(path: TreePath): number {
    while (!isWithin(path, this.#levels.at(-1)!.path)) posix.close(this.#levels.pop()!.fd);
    let top = this.#levels.at(-1)!;
    const above = splitPath(top.path).length;
    for (const name of splitPath(path).slice(above)) {
      checkName(name);
      const fd = posix.check(posix.openDirAt(top.fd, name), 'openat', name);
      top = { path: joinPath(top.path, name), fd };
      this.#levels.push(top);
    }
    return top.fd;
  }

  /** The root's handle stays open: it is the caller's. */
  close(): void {
    for (const { fd } of this.#levels.splice(1)) posix.close(fd);
  }
}
