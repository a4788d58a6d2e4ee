import type { TreePath } from '../model/tree-path.ts';
import type { OpenDirectory } from './open-directory.ts';
import type { GoneEntry, Reason, ScanEntry, ScanStep, WorkGroup, WorkItem } from './steps.ts';

export interface EmitLimits {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

export const EMIT_LIMITS: EmitLimits = { maxEntries: 512, maxBytes: 2 * 1024 * 1024 };

/** Directories, and so open descriptors, in a batch. */
const MAX_GROUPS = 64;
const MAX_LIST = 1000;
/** Entries looked at between two progress steps, and progress steps after which incomplete batches go out. */
const PROGRESS_ENTRIES = 1024;
const PROGRESS_FLUSH = 8;

/** Gathers what the walk finds into steps of bounded size. */
export class Outbox {
  readonly #limits: EmitLimits;
  readonly #ready: ScanStep[] = [];
  #groups: WorkGroup[] = [];
  #directories: OpenDirectory[] = [];
  #count = 0;
  #bytes = 0;
  #gone: GoneEntry[] = [];
  #kept: ScanEntry[] = [];
  #notes: ScanEntry[] = [];
  #batches = 0;
  /** Since the last progress step, and such steps. */
  #looked = 0;
  #progress = 0;
  /** Directories of batches that were given out. */
  readonly #out = new Map<number, OpenDirectory[]>();

  constructor(limits: EmitLimits) {
    this.#limits = limits;
  }

  /** True when `take` has something. */
  get isReady(): boolean {
    return this.#ready.length > 0;
  }

  take(): ScanStep | undefined {
    return this.#ready.shift();
  }

  work(directory: OpenDirectory, dir: TreePath, item: WorkItem): void {
    let group = this.#groups.at(-1);
    if (!group || this.#directories.at(-1) !== directory) {
      if (this.#groups.length === MAX_GROUPS) this.#closeBatch();
      group = { dirFd: directory.fd, dir, items: [] };
      this.#groups.push(group);
      this.#directories.push(directory.share());
    }
    group.items.push(item);
    this.#count++;
    this.#bytes += item.size;
    if (this.#count >= this.#limits.maxEntries || this.#bytes >= this.#limits.maxBytes) this.#closeBatch();
  }

  gone(dir: TreePath, name: Buffer, hash: Buffer): void {
    this.#gone.push({ dir, name: Buffer.from(name), hash });
    if (this.#gone.length === MAX_LIST) this.#closeLists();
  }

  kept(dir: TreePath, name: Buffer, reason: Reason): void {
    this.#kept.push({ dir, name: Buffer.from(name), ...reason });
    if (this.#kept.length === MAX_LIST) this.#closeLists();
  }

  note(dir: TreePath, name: Buffer, reason: Reason): void {
    this.#notes.push({ dir, name: Buffer.from(name), ...reason });
    if (this.#notes.length === MAX_LIST) this.#closeLists();
  }

  /** Counts entries that were looked at. */
  looked(count = 1): void {
    this.#looked += count;
    if (this.#looked < PROGRESS_ENTRIES) return;
    this.#looked = 0;
    if (++this.#progress % PROGRESS_FLUSH === 0) this.flush();
    this.#ready.push({ type: 'progress' });
  }

  flush(): void {
    this.#closeBatch();
    this.#closeLists();
  }

  release(batchId: number): void {
    for (const directory of this.#out.get(batchId) ?? []) directory.release();
    this.#out.delete(batchId);
  }

  /** Lets go of all directories, also of batches that were not released. */
  close(): void {
    for (const directory of this.#directories) directory.release();
    this.#directories = [];
    for (const id of [...this.#out.keys()]) this.release(id);
  }

  #closeBatch(): void {
    if (this.#count === 0) return;
    const id = ++this.#batches;
    this.#out.set(id, this.#directories);
    this.#ready.push({
      type: 'work',
      batch: { id, groups: this.#groups, count: this.#count, bytes: this.#bytes },
    });
    this.#groups = [];
    this.#directories = [];
    this.#count = 0;
    this.#bytes = 0;
  }

  #closeLists(): void {
    if (this.#gone.length > 0) this.#ready.push({ type: 'gone', entries: this.#gone });
    if (this.#kept.length > 0) this.#ready.push({ type: 'kept', entries: this.#kept });
    if (this.#notes.length > 0) this.#ready.push({ type: 'note', entries: this.#notes });
    this.#gone = [];
    this.#kept = [];
    this.#notes = [];
  }
}
