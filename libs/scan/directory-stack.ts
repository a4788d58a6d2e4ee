import { baseName, type TreePath } from '../model/tree-path.ts';
import { close, ESTALE, fstat, openDirAt, Stat } from '../posix/index.ts';
import { type DirectoryRules, NOTHING } from './directory-rules.ts';
import { OpenDirectory } from './open-directory.ts';
import { Subdirectories } from './subdirectories.ts';

/** Directories that the walk keeps open: the root and the innermost ones. Others are opened again when needed. */
const MAX_OPEN = 64;

/** A directory between its listing and the end of the walk below it. */
export class WalkedDirectory {
  readonly path: TreePath;
  readonly ino: bigint;
  readonly devMajor: number;
  readonly devMinor: number;
  /** 0n where the system doesn't tell. */
  readonly mountId: bigint;
  readonly subdirectories = new Subdirectories();
  /** The path for exclude rules, with a slash at the end; undefined until it is needed. */
  text: string | undefined;
  /** Undefined while it is closed for want of descriptors. */
  open: OpenDirectory | undefined;
  hasLongPaths = false;
  /** Where it was before it was renamed. */
  from: TreePath | undefined;
  /** What is left out of it; set once it was listed. */
  leftOut: DirectoryRules = NOTHING;

  get leavesOut(): boolean {
    return this.leftOut.isCache || !this.leftOut.rules.isEmpty;
  }

  /** As of `Stat`. */
  get dev(): bigint {
    return (BigInt(this.devMajor) << 32n) | BigInt(this.devMinor);
  }

  constructor(path: TreePath, open: OpenDirectory, stat: Stat) {
    this.path = path;
    this.open = open;
    this.ino = stat.ino;
    this.devMajor = stat.devMajor;
    this.devMinor = stat.devMinor;
    this.mountId = stat.mountId;
  }
}

/** The path of directories from the root to where the walk is. Bounds the number of open descriptors. */
export class DirectoryStack {
  readonly #directories: WalkedDirectory[] = [];
  readonly #stat = new Stat();

  get top(): WalkedDirectory | undefined {
    return this.#directories[this.#directories.length - 1];
  }

  get height(): number {
    return this.#directories.length;
  }

  push(directory: WalkedDirectory): void {
    this.#directories.push(directory);
    const index = this.#directories.length - 1 - MAX_OPEN;
    if (index > 0) shut(this.#directories[index]!);
  }

  pop(): void {
    const directory = this.#directories.pop();
    if (directory) shut(directory);
  }

  close(): void {
    while (this.#directories.length > 0) this.pop();
  }

  /** The topmost directory, opened again if need be; or -errno: -ESTALE when it is no longer the same. */
  openTop(): OpenDirectory | number {
    const top = this.#directories.at(-1)!;
    if (top.open) return top.open;
    let from = this.#directories.length - 2;
    while (!this.#directories[from]!.open) from--;
    let fd = this.#directories[from]!.open!.fd;
    for (let i = from + 1; i < this.#directories.length; i++) {
      const next = openDirAt(fd, baseName(this.#directories[i]!.path));
      if (i > from + 1) close(fd);
      if (next < 0) return next;
      fd = next;
    }
    const error = this.#identify(fd, top);
    if (error < 0) {
      close(fd);
      return error;
    }
    top.open = new OpenDirectory(fd);
    return top.open;
  }

  #identify(fd: number, expected: WalkedDirectory): number {
    const error = fstat(fd, this.#stat);
    if (error < 0) return error;
    return this.#stat.ino === expected.ino && this.#stat.dev === expected.dev ? 0 : -ESTALE;
  }
}

function shut(directory: WalkedDirectory): void {
  directory.open?.release();
  directory.open = undefined;
}
