import { setImmediate as turn } from 'node:timers/promises';
import type { CollectProblem } from '../collect/collector.ts';
import type { UnstoredReader } from '../collect/unstored-reader.ts';
import { decodeHead, EntryType } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { TreePath } from '../model/tree-path.ts';
import { PosixError, S_IFDIR, S_IFREG, Stat } from '../posix/index.ts';
import type { EntryKey } from '../registry/port.ts';
import type { ScanSource, ScanStep, WorkBatch, WorkItem } from '../scan/index.ts';
import type { OpenScan, ScanBase } from './open-scan.ts';

/** A file above this is not read only to see whether it differs: nothing else goes on meanwhile. */
const LARGE_BYTES = 64 * 1024 * 1024;

/** Of an entry as of the base. */
export interface BaseVersion {
  readonly state: Buffer;
}

export interface LookDeps {
  /** Versions of entries as of the base. Who is not told of one takes it for different. */
  readonly lookup: (keys: readonly EntryKey[]) => Promise<readonly (BaseVersion | undefined)[]>;
  readonly reader: () => UnstoredReader;
  /** Of which the store has lost something: they are stored anew, also where nothing differs. */
  readonly damaged: ScanBase['damaged'];
  readonly signal: AbortSignal;
}

/**
 * A scan that is looked at before a backup is opened for it: whether anything differs, so that none is made of files
 * that were only touched. What was looked at and is equal is done with; the rest is given out again by `next`.
 */
export class LookedScan implements ScanSource {
  readonly #open: OpenScan;
  readonly #deps: LookDeps;
  readonly #ahead: ScanStep[] = [];
  readonly #stat = new Stat();

  constructor(open: OpenScan, deps: LookDeps) {
    this.#open = open;
    this.#deps = deps;
  }

  /** Goes on to the first difference. What can't be read is none: its last version stays. */
  async differs(): Promise<boolean> {
    for (;;) {
      if (this.#deps.signal.aborted) throw new TmError('TM1508');
      const step = this.#open.scan.next();
      if (step.type === 'work') {
        const rest = await this.#different(step.batch);
        if (!rest) this.#open.scan.release(step.batch.id);
        else this.#ahead.push({ type: 'work', batch: rest });
        if (rest) return true;
      } else if (step.type !== 'progress') this.#ahead.push(step);
      if (step.type === 'gone') return true;
      if (step.type === 'end') return false;
      await turn();
    }
  }

  /** What there is to say of entries where nothing differs, and so no backup says it. */
  get problems(): CollectProblem[] {
    return this.#ahead.flatMap((step) => (step.type === 'kept' || step.type === 'note' ? step.entries : []));
  }

  next(): ScanStep {
    return this.#ahead.shift() ?? this.#open.scan.next();
  }

  release(batchId: number): void {
    this.#open.scan.release(batchId);
  }

  get totals(): ScanSource['totals'] {
    return this.#open.scan.totals;
  }

  keptDigest = (): Buffer => this.#open.scan.keptDigest();

  rootHint = (): string => this.#open.scan.rootHint();

  get directory(): TreePath {
    return this.#open.scan.directory;
  }

  close(): void {
    this.#open.scan.close();
  }

  /** The batch without those that are equal, from the first one on that is not; undefined when all are. */
  async #different(batch: WorkBatch): Promise<WorkBatch | undefined> {
    const items = batch.groups.flatMap(({ dirFd, dir, items }) =>
      items.map((item) => ({ dirFd, dir, item })),
    );
    const { damaged } = this.#deps;
    if (damaged === 'too many' || items.some(({ dir, item }) => damaged?.has(dir, item.name))) return batch;
    if (items.some(({ item }) => !item.previousHash)) return batch;
    const bases = await this.#deps.lookup(items.map(({ dir, item }) => ({ dir, name: item.name })));
    if (items.some(({ item }, i) => !this.#mayBeEqual(item, bases[i]))) return batch;
    const equal = new Set<WorkItem>();
    for (const { dirFd, dir, item } of items) {
      if (!(await this.#isEqual(dirFd, dir, item))) return without(batch, equal);
      equal.add(item);
    }
    return undefined;
  }

  #mayBeEqual(item: WorkItem, base: BaseVersion | undefined): boolean {
    if (!base || item.size > LARGE_BYTES) return false;
    const stat = this.#statOf(item);
    const head = decodeHead(base.state);
    return (
      head.mode === stat.mode &&
      head.uid === stat.uid &&
      head.gid === stat.gid &&
      head.mtimeSec === stat.mtimeSec &&
      head.mtimeNsec === stat.mtimeNsec &&
      (head.type === EntryType.file) === (stat.type === S_IFREG) &&
      (head.type === EntryType.directory) === (stat.type === S_IFDIR) &&
      (head.type !== EntryType.file || head.size === item.size)
    );
  }

  async #isEqual(dirFd: number, dir: TreePath, item: WorkItem): Promise<boolean> {
    try {
      const entry = await this.#deps.reader().read(dirFd, dir, item.name, this.#statOf(item));
      const { hash, inconsistent, trusted } = entry;
      if (inconsistent || !hash.equals(item.previousHash!)) return false;
      this.#open.state.patch(item.handle, { hash, trusted });
      return true;
    } catch (error) {
      if (error instanceof PosixError) return false; // gone, or not to be read: the backup deals with it
      throw error;
    }
  }

  #statOf(item: WorkItem): Stat {
    this.#stat.buffer.set(item.stat);
    return this.#stat;
  }
}

function without(batch: WorkBatch, done: ReadonlySet<WorkItem>): WorkBatch {
  const groups = batch.groups
    .map((group) => ({ ...group, items: group.items.filter((item) => !done.has(item)) }))
    .filter(({ items }) => items.length > 0);
  const left = groups.flatMap(({ items }) => items);
  return { ...batch, groups, count: left.length, bytes: left.reduce((sum, { size }) => sum + size, 0) };
}
