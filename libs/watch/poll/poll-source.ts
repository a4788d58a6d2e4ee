import { setImmediate as turn } from 'node:timers/promises';
import { close, DirReader, fstat, PosixError, S_IFDIR, Stat, statx } from '../../posix/index.ts';
import { Excluded } from '../excluded.ts';
import { changedMounts, isView, type Mount } from '../mounts.ts';
import { joinKey, type PathKey, Pending } from '../pending.ts';
import type { EventSource, WatchBatch, WatchOptions } from '../port.ts';
import { Root } from '../root.ts';
import { changedNames, type DirectoryRecord, RecordWriter } from './directory-record.ts';

/** Milliseconds of scanning before others get their turn in this process. */
const SCAN_MS = 20;
/** Of times that may be no finer, and of a server whose clock differs. */
const RACY_MS = 2000;
const MAX_NAME = 255;

export interface PollOptions extends WatchOptions {
  /** Milliseconds between the end of one scan and the start of the next one. */
  readonly intervalMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Visit {
  readonly path: PathKey;
  /** A directory above is reported as a whole. */
  readonly isWithinNew: boolean;
}

type Report = (path: PathKey, isDirectory: boolean) => void;

/**
 * Lists and stats everything again and again, and compares: for file systems that tell nothing, as those of other
 * machines. What comes and goes between two scans shows in its directory's times only; who looked meanwhile may have
 * seen it, so that a directory which changed is to be listed. An entry whose times are very young is reported once more,
 * since it may change again without another time.
 */
export class PollSource implements EventSource {
  readonly kind = 'poll';
  readonly #options: PollOptions;
  readonly #root: Root;
  readonly #pending: Pending;
  readonly #excluded: Excluded;
  readonly #reader = new DirReader(-1);
  readonly #stat = new Stat();
  readonly #writer = new RecordWriter();
  #records = new Map<PathKey, DirectoryRecord>();
  #rootRecord: DirectoryRecord | undefined;
  #mounts: ReadonlyMap<PathKey, Mount>;
  #timer: NodeJS.Timeout | undefined;
  #scanning: Promise<void> | undefined;
  /** One after the other. */
  #synced: Promise<void> = Promise.resolve();

  private constructor(options: PollOptions) {
    this.#options = options;
    this.#root = new Root(options);
    this.#pending = new Pending(this.#root, options.maxPending);
    this.#excluded = new Excluded(options.excluded);
    this.#mounts = this.#root.mounts();
  }

  static async start(options: PollOptions): Promise<PollSource> {
    const source = new PollSource(options);
    await source.#scan(() => {});
    source.#later();
    return source;
  }

  next(): Promise<WatchBatch | undefined> {
    return this.#pending.next();
  }

  /** Looks now: a scan that is under way may have been there already. */
  sync(): Promise<void> {
    this.#synced = this.#synced.then(async () => {
      clearTimeout(this.#timer);
      await this.#scanning;
      clearTimeout(this.#timer);
      if (this.#pending.hasEnded) return;
      this.#scanning = this.#poll();
      await this.#scanning;
    });
    return this.#synced;
  }

  async close(): Promise<void> {
    this.#pending.end('closed');
    clearTimeout(this.#timer);
    await this.#scanning;
    await this.#synced;
  }

  #later(): void {
    if (this.#pending.hasEnded) return;
    this.#timer = setTimeout(() => {
      this.#scanning = this.#poll();
    }, this.#options.intervalMs);
  }

  async #poll(): Promise<void> {
    try {
      const lost = this.#root.lost();
      if (lost) return this.#pending.end(lost);
      this.#compareMounts();
      await this.#scan((path, isDirectory) =>
        isDirectory ? this.#pending.listing(path) : this.#pending.entry(path),
      );
      this.#pending.flush();
      this.#later();
    } catch {
      this.#pending.end('failed'); // out of descriptors or memory
    }
  }

  #compareMounts(): void {
    const now = this.#root.mounts();
    const changed = changedMounts(this.#mounts, now);
    this.#mounts = now;
    if (changed.length > 0) this.#pending.state('mount-changed');
    for (const path of changed) this.#pending.subtree(path, 'new');
  }

  /** One walk over everything. */
  async #scan(report: Report): Promise<void> {
    const before = this.#records;
    this.#records = new Map();
    this.#compareRoot(report);
    const waiting: Visit[] = [{ path: '', isWithinNew: false }];
    let turnEnds = performance.now() + SCAN_MS;
    for (let visit = waiting.pop(); visit; visit = waiting.pop()) {
      if (performance.now() > turnEnds) {
        await turn();
        turnEnds = performance.now() + SCAN_MS;
      }
      if (this.#pending.hasEnded) return;
      this.#visit(visit, before, waiting, report);
    }
  }

  #visit(
    { path, isWithinNew }: Visit,
    before: ReadonlyMap<PathKey, DirectoryRecord>,
    waiting: Visit[],
    report: Report,
  ): void {
    const old = before.get(path);
    const listed = this.#list(path);
    if (!listed) {
      this.#keep(path, before);
      return;
    }
    this.#records.set(path, listed.record);
    const isNew = old === undefined && before.size > 0;
    if (isNew && !isWithinNew) this.#pending.subtree(path, 'new');
    for (const { name, isDirectory } of old ? changedNames(old, listed.record) : [])
      report(joinKey(path, name), isDirectory);
    for (const name of listed.directories)
      waiting.push({ path: joinKey(path, name), isWithinNew: isNew || isWithinNew });
  }

  /** What can't be listed, or has just gone, stays as it was known: its parent's record tells if it is gone. */
  #keep(path: PathKey, before: ReadonlyMap<PathKey, DirectoryRecord>): void {
    if (!before.has(path)) return;
    for (const [known, record] of before)
      if (known === path || path === '' || known.startsWith(`${path}\0`)) this.#records.set(known, record);
  }

  #compareRoot(report: Report): void {
    const fd = this.#root.open();
    if (fd < 0) return;
    if (fstat(fd, this.#stat) === 0) {
      this.#writer.add('', this.#stat, this.#isRacy());
      const record = this.#writer.finish();
      if (this.#rootRecord && changedNames(this.#rootRecord, record).length > 0) report('', true);
      this.#rootRecord = record;
    }
    close(fd);
  }

  #list(path: PathKey): { record: DirectoryRecord; directories: string[] } | undefined {
    const fd = this.#root.openBelow(path);
    if (fd < 0) return undefined;
    try {
      const names = this.#names(fd);
      const directories: string[] = [];
      for (const name of names) {
        const entry = joinKey(path, name);
        if (this.#excluded.isTop(entry) || statx(fd, Buffer.from(name, 'latin1'), this.#stat) < 0) continue;
        this.#writer.add(name, this.#stat, this.#isRacy());
        const mount = this.#mounts.get(entry);
        if (this.#stat.type === S_IFDIR && !(mount && isView(mount))) directories.push(name);
      }
      return { record: this.#writer.finish(), directories };
    } catch (error) {
      if (!(error instanceof PosixError)) throw error;
      return undefined;
    } finally {
      close(fd);
    }
  }

  #names(fd: number): string[] {
    const names: string[] = [];
    this.#reader.reset(fd);
    while (this.#reader.next())
      if (this.#reader.name.length <= MAX_NAME) names.push(this.#reader.name.toString('latin1'));
    return names.sort();
  }

  #isRacy(): boolean {
    const { ctimeSec, mtimeSec } = this.#stat;
    const youngest = Math.max(Number(ctimeSec), Number(mtimeSec)) * 1000;
    return Math.abs(this.#options.now() - youngest) < RACY_MS + 1000;
  }
}
