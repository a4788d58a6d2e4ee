import type { TreePath } from '../model/tree-path.ts';
import { type PathKey, splitKey, toKey } from './pending.ts';

/** The subtrees that are not watched. */
export class Excluded {
  readonly #tops: ReadonlySet<PathKey>;

  constructor(tops: readonly TreePath[] = []) {
    this.#tops = new Set(tops.map(toKey));
  }

  /** The top of one. */
  isTop(path: PathKey): boolean {
    return this.#tops.has(path);
  }

  /** One's top, or below it. */
  has(path: PathKey): boolean {
    if (this.#tops.size === 0) return false;
    for (let at = path; at !== ''; at = splitKey(at)[0]) if (this.#tops.has(at)) return true;
    return false;
  }
}
