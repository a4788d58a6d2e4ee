import { TmError } from '../model/errors.ts';
import { isWithin, joinPath, splitPath, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { checkName } from './check-name.ts';
import { DirectoryHandle } from './directory-handle.ts';
import { NameList } from './name-list.ts';
import type { FolderIdentity } from './protocol.ts';
import { isForbidden } from './removal.ts';

/** A directory of the backup that was met in its parent and whose own entries are still to come, if it has any. */
interface Pending {
  readonly name: Buffer;
  readonly fresh: boolean;
}

export interface Level {
  readonly path: TreePath;
  /** Undefined: it can't be entered (`error`), or in a dry run is not there. */
  readonly handle: DirectoryHandle | undefined;
  readonly error: unknown;
  /** This restore made it. */
  readonly fresh: boolean;
  readonly pending: Pending[];
  nextPending: number;
  /** Names that were there, of a directory whose extra names are to go. */
  readonly names: NameList | undefined;
  nextName: number;
}

export interface WalkOptions {
  /** Undefined in a dry run where there is no target yet. */
  readonly root: DirectoryHandle | undefined;
  readonly dryRun: boolean;
  readonly isRoot: boolean;
  readonly forbidden: readonly FolderIdentity[];
  /** Whether names that the backup lacks in this directory are to go. */
  readonly sweeps: (dir: TreePath) => boolean;
  /** Such a name. */
  readonly extra: (handle: DirectoryHandle, dir: TreePath, name: Buffer) => void;
  /** A directory whose extra names can't be told. */
  readonly unreadable: (dir: TreePath, error: unknown) => void;
}

/**
 * Follows a plan, which comes in order of directories and names, through the target: open handles of the directories
 * on the way, and what is there but not in the plan. Its memory is the names of the directories on the way.
 */
export class TargetWalk {
  readonly #options: WalkOptions;
  readonly #levels: Level[] = [];
  readonly #stat = new posix.Stat();
  /** The very object that `enter` was last given: neighbours in the plan share theirs. */
  #entered: TreePath | undefined;

  constructor(options: WalkOptions) {
    this.#options = options;
  }

  /** Entries of the root may come: it was made by this restore, or was there. */
  start(fresh: boolean): void {
    this.#levels.push(this.#level(ROOT, this.#options.root?.use(), undefined, fresh));
  }

  /** Moves on to a directory, as the entries in it are about to come. */
  enter(dir: TreePath): Level {
    if (dir === this.#entered || dir.equals(this.#top.path)) return this.#top;
    this.#entered = dir;
    while (!isWithin(dir, this.#top.path)) this.#leave();
    for (const name of splitPath(dir).slice(splitPath(this.#top.path).length)) {
      const fresh = this.#skipTo(this.#top, name);
      this.#levels.push(this.#open(this.#top, name, fresh));
    }
    return this.#top;
  }

  /** The plan has come to this name of the level: names before it that are there are extra. */
  reach(level: Level, record: { readonly name: Buffer }): void {
    const { names } = level;
    if (!names || level.nextName === names.length) return;
    const { name } = record;
    for (; level.nextName < names.length; level.nextName++) {
      const order = names.compare(level.nextName, name);
      if (order > 0) return;
      if (order < 0) this.#options.extra(level.handle!, level.path, names.at(level.nextName));
    }
  }

  /** A directory of the plan, which is there by now. */
  add(level: Level, name: Buffer, fresh: boolean): void {
    level.pending.push({ name: Buffer.from(name), fresh });
  }

  finish(): void {
    while (this.#levels.length > 0) this.#leave();
  }

  /** After an error: closes what is open and removes nothing more. */
  abandon(): void {
    for (const { handle } of this.#levels.splice(0)) handle?.release();
  }

  get #top(): Level {
    return this.#levels.at(-1)!;
  }

  #leave(): void {
    const level = this.#top;
    this.#skipTo(level, undefined);
    this.#restIsExtra(level);
    level.handle?.release();
    this.#levels.pop();
  }

  #restIsExtra({ handle, path, names, nextName }: Level): void {
    for (let i = nextName; names && i < names.length; i++) this.#options.extra(handle!, path, names.at(i));
  }

  /** Directories before `name` have no entries in the plan: all that is in them is extra. */
  #skipTo(level: Level, name: Buffer | undefined): boolean {
    for (; level.nextPending < level.pending.length; level.nextPending++) {
      const next = level.pending[level.nextPending]!;
      const order = name ? Buffer.compare(next.name, name) : -1;
      if (order > 0) return false;
      if (order === 0) {
        level.nextPending++;
        return next.fresh;
      }
      if (next.fresh || !this.#options.sweeps(joinPath(level.path, next.name))) continue;
      const empty = this.#open(level, next.name, false);
      this.#restIsExtra(empty);
      empty.handle?.release();
    }
    return false;
  }

  #open(above: Level, name: Buffer, fresh: boolean): Level {
    const path = joinPath(above.path, name);
    if (!above.handle) return this.#level(path, undefined, above.error, fresh);
    try {
      checkName(name);
      const fd = this.#openDirectory(above.handle.fd, name, fresh);
      if (fd !== undefined) return this.#level(path, new DirectoryHandle(fd), undefined, fresh);
      return this.#level(path, undefined, undefined, fresh);
    } catch (error) {
      return this.#level(path, undefined, error, fresh);
    }
  }

  #openDirectory(parentFd: number, name: Buffer, fresh: boolean): number | undefined {
    const { dryRun, isRoot, forbidden } = this.#options;
    let fd = posix.openDirAt(parentFd, name);
    if (fd === -posix.EACCES && !isRoot && !dryRun) {
      // Its owner may open it up; its mode is set at the end.
      posix.fchmodat(parentFd, name, 0o700);
      fd = posix.openDirAt(parentFd, name);
    }
    if (fd < 0 && dryRun && fd !== -posix.EACCES) return undefined;
    posix.check(fd, 'openat', name);
    if (fresh) return fd;
    const stat = this.#stat;
    const found = posix.fstat(fd, stat);
    if (found < 0 || isForbidden(stat, forbidden)) {
      posix.close(fd);
      posix.check(found, 'fstat', name);
      throw new TmError('TM1602', 'it is the store or home');
    }
    if (!isRoot && !dryRun && (stat.mode & 0o700) !== 0o700) posix.fchmod(fd, stat.mode | 0o700);
    return fd;
  }

  #level(path: TreePath, handle: DirectoryHandle | undefined, error: unknown, fresh: boolean): Level {
    let names: NameList | undefined;
    if (handle && !fresh && this.#options.sweeps(path)) {
      try {
        names = new NameList(handle.fd);
      } catch (unreadable) {
        this.#options.unreadable(path, unreadable);
      }
    }
    return { path, handle, error, fresh, pending: [], nextPending: 0, names, nextName: 0 };
  }
}

const ROOT: TreePath = Buffer.alloc(0);
