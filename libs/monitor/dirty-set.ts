import type { TreePath } from '../model/tree-path.ts';
import type { DirtyEntry, DirtySubtree, WatchBatch } from '../watch/port.ts';
import type { Dirty } from './dirty.ts';
import { both, type Held, type Times, timesUpTo, Waiting } from './waiting.ts';

/** Times in milliseconds. */
export interface Settling {
  /** So long a path has to be quiet before it is taken. */
  readonly settleMs: number;
  /** So long after its first change it is taken in any case. */
  readonly boundMs: number;
  /** More paths than that are not told apart: then the whole root has to be looked at. */
  readonly maxPaths: number;
}

/** What was taken for a backup, to be given back if that fails. */
export interface Taken {
  readonly dirty: Dirty;
  readonly entries: ReadonlyMap<string, Held<DirtyEntry>>;
  readonly subtrees: ReadonlyMap<string, Held<DirtySubtree>>;
  /** Everything is to be looked at. */
  readonly collapsed: Times | undefined;
  /** When the oldest of it was noticed. */
  readonly oldest: number | undefined;
}

const STRENGTH: Record<DirtySubtree['reason'], number> = { moved: 0, new: 1, lost: 2 };

const keyOf = (path: TreePath): string => path.toString('latin1');

function* parentsOf(key: string): Iterable<string> {
  for (let cut = key.lastIndexOf('\0'); cut > 0; cut = key.lastIndexOf('\0', cut - 1))
    yield key.slice(0, cut);
  if (key !== '') yield '';
}

/**
 * The changes of one source that are in no backup yet: paths, each once however often it changed, with the times by
 * which they settle. Bounded: past `maxPaths` it knows only that everything has to be looked at (`collapsed`).
 */
export class DirtySet {
  readonly #settling: Settling;
  readonly #entries = new Waiting<DirtyEntry>((older, newer) => ({
    ...older,
    ...newer,
    ...((older.listing || newer.listing) && { listing: true }),
    ...sharedOf(older, newer),
  }));
  readonly #subtrees = new Waiting<DirtySubtree>((older, newer) =>
    STRENGTH[older.reason] > STRENGTH[newer.reason] ? older : newer,
  );
  #collapsed: Times | undefined;
  /** Kept, since it is asked for with each batch. */
  #oldest: number | undefined;

  constructor(settling: Settling) {
    this.#settling = settling;
  }

  /** How many paths wait. */
  get size(): number {
    return this.#entries.size + this.#subtrees.size;
  }

  get isEmpty(): boolean {
    return this.size === 0 && !this.#collapsed;
  }

  /** Too much came: only a look at everything helps, which `takeAll` begins. */
  get hasCollapsed(): boolean {
    return this.#collapsed !== undefined;
  }

  /** When the oldest of the changes was noticed; undefined where there are none. */
  get oldest(): number | undefined {
    return this.#oldest;
  }

  add({ entries, subtrees }: Pick<WatchBatch, 'entries' | 'subtrees'>, now: number): void {
    const times = { first: now, last: now };
    if (entries.length + subtrees.length === 0) return;
    this.#oldest ??= now;
    if (this.#collapsed) {
      this.#collapsed = both(this.#collapsed, times);
      return;
    }
    for (const entry of entries) this.#entries.add(keyOf(entry.path), { value: entry, ...times });
    for (const subtree of subtrees) this.#subtrees.add(keyOf(subtree.path), { value: subtree, ...times });
    this.#bound();
  }

  /** A backup failed: what it took is dirty again, since when it was. */
  giveBack({ entries, subtrees, collapsed }: Taken): void {
    this.#entries.addAll(entries);
    this.#subtrees.addAll(subtrees);
    if (collapsed) this.#collapsed = both(this.#collapsed, collapsed);
    this.#bound();
    this.#setOldest();
  }

  /** The clock was set back to `now`: what it noticed later than that counts from now on. */
  notAfter(now: number): void {
    for (const waiting of [this.#entries, this.#subtrees]) waiting.notAfter(now);
    this.#collapsed &&= timesUpTo(this.#collapsed, now);
    this.#setOldest();
  }

  /** When the first path can be taken; undefined while nothing is dirty. */
  readyAt(): number | undefined {
    if (this.#collapsed) return this.#collapsed.first;
    let ready: number | undefined;
    for (const waiting of [this.#entries, this.#subtrees])
      for (const held of waiting.values())
        ready = Math.min(ready ?? Number.POSITIVE_INFINITY, this.#readyAt(held));
    return ready;
  }

  /** What can be taken now. The directories that lead to a path come along: they are never half written. */
  take(now: number): Taken {
    const isReady = (held: Times): boolean => this.#readyAt(held) <= now;
    const entries = this.#entries.take(isReady, parentsOf);
    const subtrees = this.#subtrees.take(isReady);
    this.#setOldest();
    const { settleMs, boundMs } = this.#settling;
    const unsettled = [...entries.values()].filter(
      ({ first, last }) => last + settleMs > now && first + boundMs <= now,
    );
    return takenOf(
      entries,
      subtrees,
      unsettled.map(({ value }) => value.path),
      undefined,
    );
  }

  /** Everything, settled or not. */
  takeAll(): Taken {
    const all = (): boolean => true;
    const taken = takenOf(this.#entries.take(all), this.#subtrees.take(all), [], this.#collapsed);
    this.#collapsed = undefined;
    this.#oldest = undefined;
    return taken;
  }

  #setOldest(): void {
    const times = [this.#entries.times, this.#subtrees.times, this.#collapsed];
    this.#oldest = oldestOf(times.filter((one) => one !== undefined));
  }

  #readyAt({ first, last }: Times): number {
    return Math.min(last + this.#settling.settleMs, first + this.#settling.boundMs);
  }

  #bound(): void {
    if (!this.#collapsed && this.size <= this.#settling.maxPaths) return;
    for (const waiting of [this.#entries, this.#subtrees]) {
      if (waiting.times) this.#collapsed = both(this.#collapsed, waiting.times);
      waiting.clear();
    }
  }
}

const oldestOf = (times: readonly Times[]): number | undefined =>
  times.reduce<Times | undefined>(both, undefined)?.first;

const takenOf = (
  entries: Taken['entries'],
  subtrees: Taken['subtrees'],
  unsettled: readonly TreePath[],
  collapsed: Times | undefined,
): Taken => ({
  oldest: oldestOf([...entries.values(), ...subtrees.values(), ...(collapsed ? [collapsed] : [])]),
  dirty: {
    entries: Array.from(entries.values(), ({ value }) => value),
    subtrees: Array.from(subtrees.values(), ({ value }) => value),
    unsettled,
  },
  entries,
  subtrees,
  collapsed,
});

/** Each file that had the name and lives on under another one: few do. */
function sharedOf(older: DirtyEntry, newer: DirtyEntry): Pick<DirtyEntry, 'shared'> {
  const all = [...(older.shared ?? []), ...(newer.shared ?? [])];
  const each = new Map(all.map((inode) => [`${inode.dev} ${inode.ino}`, inode]));
  return each.size > 0 ? { shared: [...each.values()] } : {};
}
