import { type KnownEntries, type KnownEntry, NOTHING_RESUMED } from '../collect/known-entries.ts';
import { compareEntries, isWithin, ROOT, type TreePath } from '../model/tree-path.ts';
import type { BaseEntry, MovedFrom, WorkBatch, WorkItem } from '../scan/index.ts';

/** The records of a backup's base. */
export interface MovedStates {
  /** An entry and all below it, in the order of (dir, name). Not all of it may be taken. */
  records(within: TreePath): AsyncIterable<readonly BaseEntry[]>;
}

/**
 * Knows what came by the rename of a directory, from the records of where it was: one pass over these goes along with
 * the scan, which finds both in the same order. What has no such record is read.
 */
export class MovedEntries implements KnownEntries {
  readonly resumed = NOTHING_RESUMED;
  readonly #states: MovedStates;
  #within: TreePath | undefined;
  #pages: AsyncIterator<readonly BaseEntry[]> | undefined;
  #page: readonly BaseEntry[] = [];
  #at = 0;
  #last: { readonly dir: TreePath; readonly name: Buffer } = { dir: ROOT, name: ROOT };

  constructor(states: MovedStates) {
    this.#states = states;
  }

  async known(batch: WorkBatch): Promise<ReadonlyMap<WorkItem, KnownEntry>> {
    const known = new Map<WorkItem, KnownEntry>();
    for (const { items } of batch.groups) {
      for (const item of items) {
        const record = item.from && (await this.#find(item.from, item.name));
        if (record) known.set(item, { state: record.state, hints: record.hints });
      }
    }
    return known;
  }

  async #find({ dir, hash }: MovedFrom, name: Buffer): Promise<BaseEntry | undefined> {
    const isAhead = this.#within && isWithin(dir, this.#within) && compareTo(this.#last, dir, name) < 0;
    if (!isAhead) await this.#begin(dir);
    this.#last = { dir, name };
    for (let record = await this.#present(); record; record = await this.#present()) {
      const order = compareTo(record, dir, name);
      if (order > 0) return undefined;
      this.#at++;
      if (order === 0) return record.hash.equals(hash) ? record : undefined;
    }
    return undefined;
  }

  async #begin(within: TreePath): Promise<void> {
    await this.#pages?.return?.();
    this.#within = within;
    this.#pages = this.#states.records(within)[Symbol.asyncIterator]();
    this.#page = [];
    this.#at = 0;
  }

  async #present(): Promise<BaseEntry | undefined> {
    while (this.#at === this.#page.length) {
      const { done, value } = await this.#pages!.next();
      if (done) return undefined;
      this.#page = value;
      this.#at = 0;
    }
    return this.#page[this.#at];
  }

  keep(): void {}

  close(): void {
    this.#pages?.return?.().catch(() => {}); // what it holds is let go of; nobody needs its answer
  }
}

const compareTo = (
  entry: { readonly dir: TreePath; readonly name: Buffer },
  dir: TreePath,
  name: Buffer,
): number => compareEntries(entry.dir, entry.name, dir, name);
