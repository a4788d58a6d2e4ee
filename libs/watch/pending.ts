import { type TreePath, toSlashes } from '../model/tree-path.ts';
import { close, S_IFDIR, Stat, statx } from '../posix/index.ts';
import type { DirtyEntry, DirtySubtree, FinalState, WatchBatch, WatchState } from './port.ts';
import type { Root } from './root.ts';

const MAX_PENDING = 100_000;

/** Tree paths with one char for each byte: what maps take as a key. */
export type PathKey = string;

export const toKey = (path: TreePath): PathKey => path.toString('latin1');
export const joinKey = (dir: PathKey, name: string): PathKey => (dir === '' ? name : `${dir}\0${name}`);

/** The directory and the name in it. */
export function splitKey(path: PathKey): [PathKey, string] {
  const cut = path.lastIndexOf('\0');
  return cut < 0 ? ['', path] : [path.slice(0, cut), path.slice(cut + 1)];
}

export const fromKey = (key: PathKey): TreePath => Buffer.from(key, 'latin1');

type Reason = DirtySubtree['reason'];
/** The stronger reason stays: nothing that is known may be relied on in the last. */
const STRENGTH: Record<Reason, number> = { moved: 0, new: 1, lost: 2 };

/** What was noticed and not yet taken; bounded: when it would grow past its limit, all of it becomes an overflow. */
export class Pending {
  readonly #root: Root;
  readonly #maximum: number;
  readonly #stat = new Stat();
  /** With what is to be done besides looking: whether to list. */
  #entries = new Map<PathKey, boolean>();
  #subtrees = new Map<PathKey, Reason>();
  #states = new Set<WatchState>();
  #hasEnded = false;
  #waiting: ((batch: WatchBatch | undefined) => void) | undefined;

  constructor(root: Root, maximum: number = MAX_PENDING) {
    this.#root = root;
    this.#maximum = maximum;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  entry(path: PathKey): void {
    if (!this.#entries.has(path)) this.#entries.set(path, false);
    this.#bound();
  }

  /** A directory of which other names than those reported may have come and gone. */
  listing(path: PathKey): void {
    this.#entries.set(path, true);
    this.#bound();
  }

  subtree(path: PathKey, reason: Reason): void {
    const before = this.#subtrees.get(path);
    if (before === undefined || STRENGTH[reason] > STRENGTH[before]) this.#subtrees.set(path, reason);
    this.#bound();
  }

  state(state: 'watch-limit' | 'mount-changed'): void {
    this.#states.add(state);
  }

  overflow(): void {
    this.#entries = new Map();
    this.#subtrees = new Map([['', 'lost']]);
    this.#states.add('overflow');
  }

  /** The first reason to end is the one that is told. */
  end(state: FinalState): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#states.add(state);
    this.flush();
  }

  /** Hands over what there is, if anybody waits. Called when a source has taken in all that it can at once. */
  flush(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    const batch = this.#take();
    if (!batch && !this.#hasEnded) return;
    this.#waiting = undefined;
    waiting(batch);
  }

  next(): Promise<WatchBatch | undefined> {
    if (this.#waiting) throw new Error('another call waits for the next batch');
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.flush();
    });
  }

  #bound(): void {
    if (this.#entries.size + this.#subtrees.size > this.#maximum) this.overflow();
  }

  #take(): WatchBatch | undefined {
    if (this.#entries.size + this.#subtrees.size + this.#states.size === 0) return undefined;
    const batch = {
      entries: this.#resolve(),
      subtrees: Array.from(this.#subtrees, ([path, reason]) => ({ path: fromKey(path), reason })),
      states: [...this.#states],
    };
    this.#entries = new Map();
    this.#subtrees = new Map();
    this.#states = new Set();
    return batch;
  }

  #resolve(): DirtyEntry[] {
    const root = this.#root.open();
    const entries = Array.from(this.#entries, ([key, isListing]) =>
      isListing ? { path: fromKey(key), listing: true as const } : this.#entry(root, fromKey(key)),
    );
    if (root >= 0) close(root);
    return entries;
  }

  /** A path that is too long for one call, or gone, has to do without: it is looked at by its path in any case. */
  #entry(root: number, path: TreePath): DirtyEntry {
    const stat = this.#stat;
    if (root < 0 || path.length === 0 || statx(root, toSlashes(path), stat) < 0) return { path };
    if (stat.type === S_IFDIR || stat.nlink < 2) return { path };
    return { path, shared: [{ dev: stat.dev, ino: stat.ino }] };
  }
}
