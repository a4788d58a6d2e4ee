import { baseName, joinPath, parentPath, ROOT, type TreePath } from '../../model/tree-path.ts';
import { S_IFDIR } from '../../posix/index.ts';
import type { KnownCursor } from '../known/known-cursor.ts';
import { toKey } from '../known/overlay.ts';
import { fileType } from '../stat-record.ts';

/** A path to look at. */
export interface Look {
  readonly path: TreePath;
  /** Everything below it is to be looked at as well, whatever it is. */
  walk: boolean;
  /** Its names are to be looked at, and those that are known in it. */
  listing: boolean;
}

/**
 * The paths that a dirty scan looks at, each once, in rounds: what is found in one round may lead to others. With
 * each comes its directory, of which a change says that names came or went. Where a path's directory is not known as
 * one, the topmost such directory is looked at instead, since all below it is new.
 */
export class Looks {
  readonly #known: KnownCursor;
  readonly #waiting = new Map<string, Look>();
  readonly #done = new Set<string>();
  /** Paths below which everything is settled. */
  readonly #covered = new Set<string>();
  readonly #directories = new Map<string, boolean>([['', true]]);

  /** `known`: a cursor of its own. */
  constructor(known: KnownCursor) {
    this.#known = known;
  }

  add(path: TreePath, how: { readonly walk?: boolean; readonly listing?: boolean } = {}): void {
    const top = this.#topmost(path);
    const isItself = top.length === path.length;
    this.#put(top, isItself && how.walk === true, isItself && how.listing === true);
    if (top.length > 0) this.#put(parentPath(top), false, false);
  }

  #put(path: TreePath, walk: boolean, listing: boolean): void {
    const key = toKey(path);
    if (this.#done.has(key)) return;
    const before = this.#waiting.get(key);
    if (!before) this.#waiting.set(key, { path: Buffer.from(path), walk, listing });
    else {
      before.walk ||= walk;
      before.listing ||= listing;
    }
  }

  /** The looks that wait, in the order of a walk; they are done then. */
  takeRound(): Look[] {
    const round = [...this.#waiting.values()].sort((a, b) => Buffer.compare(a.path, b.path));
    for (const key of this.#waiting.keys()) this.#done.add(key);
    this.#waiting.clear();
    return round;
  }

  /** Whether a look at the path was taken. */
  isDone(path: TreePath): boolean {
    return this.#done.has(toKey(path));
  }

  /** Everything at the path and below is settled. */
  cover(path: TreePath): void {
    this.#covered.add(toKey(path));
  }

  isCovered(path: TreePath): boolean {
    if (this.#covered.size === 0) return false;
    for (let key = toKey(path); ; key = key.slice(0, Math.max(0, key.lastIndexOf('\0')))) {
      if (this.#covered.has(key)) return true;
      if (key === '') return false;
    }
  }

  #topmost(path: TreePath): TreePath {
    let top = path;
    for (let at = path; at.length > 0; at = parentPath(at)) {
      if (!this.#isDirectory(parentPath(at))) top = parentPath(at);
    }
    return top;
  }

  #isDirectory(path: TreePath): boolean {
    const key = toKey(path);
    let known = this.#directories.get(key);
    if (known === undefined) {
      const cursor = this.#known;
      known = cursor.seek(path) && fileType(cursor.words, cursor.statAt) === S_IFDIR;
      this.#directories.set(key, known);
    }
    return known;
  }
}

export const pathOf = (dir: TreePath, name: Buffer): TreePath =>
  name.length === 0 ? ROOT : joinPath(dir, name);

/** The name of the directory at `depth` bytes of a path that comes after them. */
export function nextName(path: TreePath, depth: number): Buffer {
  const start = depth === 0 ? 0 : depth + 1;
  const end = path.indexOf(0, start);
  return end < 0 ? baseName(path) : path.subarray(start, end);
}
