import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { decodeState, EntryType } from '../model/entry.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import type { EntryRecord } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import { geteuid } from '../posix/index.ts';
import type { Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { BIG_FILE_BYTES, BigFile } from './big-file.ts';
import { BlockReader } from './block-reader.ts';
import { type ReadingKeys, StoreSupplier } from './block-supplier.ts';
import { Directories } from './directories.ts';
import type { DirectoryHandle } from './directory-handle.ts';
import { EntryWriter } from './entry-writer.ts';
import { LinkTable } from './link-table.ts';
import { Links } from './links.ts';
import { type OpenTarget, openTarget } from './open-target.ts';
import {
  type ChangeOp,
  type Counts,
  type FolderIdentity,
  noCounts,
  type TaskResult,
  type WriterSetup,
  type WriterTask,
} from './protocol.ts';
import { removeTree } from './removal.ts';
import { linkGroupOf, makePlan, type RestorePlan, sizeOf, typeOf } from './restore-plan.ts';
import { Spool } from './spool.ts';
import { TemporaryNames } from './target-file.ts';
import { type Level, TargetWalk } from './target-walk.ts';
import { TaskBuilder } from './task-builder.ts';
import { TaskReport } from './task-report.ts';
import { asBuffer } from './thread-messages.ts';
import { InlinePool, type TaskPool, ThreadPool } from './thread-pool.ts';

export interface RestoreRequest {
  readonly sourceId: number;
  readonly seq: number;
  /** Entries to restore, with all below them; none: everything. */
  readonly paths: readonly TreePath[];
  /** Made when it is not there. */
  readonly target: Buffer | string;
  /** Also remove what the backup lacks, in directories that are restored whole. */
  readonly delete: boolean;
  readonly dryRun: boolean;
  readonly threads: number;
  readonly onChange?: (change: { op: ChangeOp; dir: TreePath; name: Buffer }) => void;
  readonly onProblem: (problem: { code: ErrorCode; dir: TreePath; name: Buffer; message: string }) => void;
  readonly onProgress?: (progress: { files: number; bytes: number; totalBytes: number }) => void;
  readonly signal?: AbortSignal;
  /** For the plan, a temporary file. */
  readonly spoolDir: string;
  /** Directories that nothing may be written to or deleted from: home and store. */
  readonly forbidden: readonly FolderIdentity[];
}

export interface RestoreResult extends Counts {
  bytesFetched: number;
  problems: number;
}

export interface RestoreDeps {
  readonly registry: Registry;
  readonly store: Store;
  readonly keys: ReadingKeys;
}

/** Restores of less than this are done without threads, which take longer to start. */
const INLINE_ENTRIES = 1000;
const INLINE_BYTES = 16 * 1024 * 1024;
/** Large files under way; each has two stretches or more with the threads. */
const BIG_FILES = 2;

const SCRIPT = new URL(
  import.meta.url.endsWith('.ts') ? './restore-worker.ts' : './restore-worker.js',
  import.meta.url,
);

/** Brings entries of one backup into a folder, writing only what differs there. */
export async function restore(request: RestoreRequest, deps: RestoreDeps): Promise<RestoreResult> {
  const target = await openTarget(request);
  try {
    const plan = await makePlan(deps.registry.entries, request);
    try {
      return await new Restore(request, deps, target, plan).run();
    } finally {
      plan.entries.close();
    }
  } finally {
    target.root?.release();
  }
}

function setupOf(request: RestoreRequest, { keys }: RestoreDeps): WriterSetup {
  const { dryRun, forbidden } = request;
  return {
    domainId: keys.domainId,
    dedupKey: keys.dedupKey,
    dryRun,
    delete: request.delete,
    tellChanges: request.onChange !== undefined,
    forbidden,
  };
}

/** Walks the plan and the target together; what is no directory goes in tasks to the pool. */
class Restore {
  readonly #request: RestoreRequest;
  readonly #plan: RestorePlan;
  readonly #setup: WriterSetup;
  readonly #supplier: StoreSupplier;
  readonly #reader: BlockReader;
  readonly #pool: TaskPool<WriterTask, TaskResult>;
  readonly #names = new TemporaryNames(randomBytes(6));
  readonly #target: OpenTarget;
  readonly #walk: TargetWalk;
  readonly #directories: Directories;
  readonly #builder = new TaskBuilder();
  readonly #links: LinkTable;
  readonly #furtherNames: Spool;
  readonly #running = new Set<Promise<void>>();
  #bigFiles = 0;
  #failure: unknown;
  readonly #result: RestoreResult = { ...noCounts(), bytesFetched: 0, problems: 0 };

  constructor(request: RestoreRequest, deps: RestoreDeps, target: OpenTarget, plan: RestorePlan) {
    const { keys } = deps;
    this.#request = request;
    this.#plan = plan;
    this.#target = target;
    this.#setup = setupOf(request, deps);
    this.#supplier = new StoreSupplier(deps.registry, deps.store, keys, request.signal);
    this.#reader = new BlockReader(keys, this.#supplier);
    this.#pool = this.#makePool();
    this.#walk = this.#makeWalk();
    this.#directories = new Directories(target.root, this.#setup, this.#reader, request.spoolDir);
    this.#links = new LinkTable(request.spoolDir, plan.linked);
    this.#furtherNames = new Spool(request.spoolDir);
  }

  #makePool(): TaskPool<WriterTask, TaskResult> {
    if (this.#plan.count >= INLINE_ENTRIES || this.#plan.bytes >= INLINE_BYTES)
      return new ThreadPool(SCRIPT, this.#setup, this.#request.threads, this.#supplier);
    const writer = new EntryWriter(this.#setup, this.#supplier, this.#names);
    return new InlinePool((task) => writer.run(task));
  }

  #makeWalk(): TargetWalk {
    const { paths, dryRun, forbidden } = this.#request;
    return new TargetWalk({
      root: this.#target.root,
      dryRun,
      forbidden,
      isRoot: geteuid() === 0,
      sweeps: (dir) =>
        this.#request.delete &&
        !this.#plan.onTheWay.has(dir.toString('latin1')) &&
        (dir.length > 0 || paths.length === 0),
      extra: (handle, dir, name) => this.#remove(handle, dir, name),
      unreadable: (dir, error) =>
        this.#report((report) => report.failed({ dir, name: NO_NAME }, undefined, error)),
    });
  }

  async run(): Promise<RestoreResult> {
    try {
      this.#walk.start(this.#target.fresh);
      for (const batch of this.#plan.entries.forwards()) {
        for (const record of batch) await this.#entry(record);
        await setImmediate(); // lets signals in
        this.#throwIfOver();
      }
      await this.#submit();
      this.#walk.finish();
      await this.#settle();
      await this.#linkNames();
      await this.#reportLater((report) => this.#directories.finish(report));
    } finally {
      await Promise.allSettled(this.#running);
      await this.#pool.close();
      this.#walk.abandon();
      this.#builder.abandon();
      for (const one of [this.#directories, this.#links, this.#furtherNames]) one.close();
    }
    this.#result.bytesFetched = this.#supplier.bytesFetched;
    return this.#result;
  }

  #throwIfOver(): void {
    if (this.#request.signal?.aborted) throw new TmError('TM1508');
    if (this.#failure) throw this.#failure;
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#running);
    this.#throwIfOver();
  }

  async #entry(record: EntryRecord): Promise<void> {
    const { dir, name, state } = record;
    const type = typeOf(state);
    if (name.length === 0)
      return this.#reportLater((report) => this.#directories.root(record, this.#target.fresh, report));
    const level = this.#walk.enter(dir);
    this.#walk.reach(level, name);
    if (type === EntryType.directory) return this.#directory(level, record);
    if (level.error !== undefined)
      return this.#report((report) => report.failed(record, undefined, level.error));
    const group = linkGroupOf(state);
    if (group !== 0n && !this.#links.isFirst(group, record)) return this.#furtherNames.add(record);
    const isFile = type === EntryType.file;
    if (isFile && sizeOf(state) > BIG_FILE_BYTES) return this.#bigFile(level, record);
    this.#builder.add(level, record, isFile);
    if (this.#builder.full) await this.#submit();
  }

  async #directory(level: Level, record: EntryRecord): Promise<void> {
    await this.#reportLater(async (report) => {
      try {
        this.#walk.add(level, record.name, await this.#directories.make(level, record, report));
      } catch (error) {
        report.failed(record, undefined, error);
      }
    });
  }

  async #submit(): Promise<void> {
    const built = this.#builder.take();
    if (!built) return;
    try {
      await this.#pool.ready();
      this.#throwIfOver();
    } catch (error) {
      for (const handle of built.handles) handle.release();
      throw error;
    }
    this.#track(this.#pool.run(built.task), built.handles);
  }

  /** Other entries go on meanwhile. */
  async #bigFile(level: Level, record: EntryRecord): Promise<void> {
    while (this.#bigFiles >= BIG_FILES) await Promise.race(this.#running);
    this.#throwIfOver();
    this.#bigFiles++;
    const { handle, fresh } = level;
    const copy = { ...record, dir: Buffer.from(record.dir), name: Buffer.from(record.name) };
    const place = { dirFd: handle?.fd ?? -1, fresh, record: copy, state: decodeState(record.state) };
    const deps = { setup: this.#setup, reader: this.#reader, pool: this.#pool, names: this.#names };
    const done = new BigFile(place, deps).run().finally(() => this.#bigFiles--);
    this.#track(done, handle ? [handle.use()] : []);
  }

  #track(result: Promise<TaskResult>, handles: readonly DirectoryHandle[]): void {
    const task = result
      .then(
        (done) => this.#absorb(done),
        (error) => {
          this.#failure ??= error;
        },
      )
      .finally(() => {
        for (const handle of handles) handle.release();
        this.#running.delete(task);
      });
    this.#running.add(task);
  }

  #absorb({ counts, problems, changes, links }: TaskResult): void {
    const { onChange, onProblem, onProgress } = this.#request;
    for (const key of Object.keys(counts) as (keyof Counts)[]) this.#result[key] += counts[key];
    for (const { op, dir, name } of changes) onChange?.({ op, dir: asBuffer(dir), name: asBuffer(name) });
    for (const { code, dir, name, message } of problems) {
      this.#result.problems++;
      onProblem({ code, dir: asBuffer(dir), name: asBuffer(name), message });
    }
    for (const { group, outcome } of links) this.#links.setOutcome(group, outcome);
    onProgress?.({ files: this.#result.files, bytes: this.#result.bytes, totalBytes: this.#plan.bytes });
  }

  #report(work: (report: TaskReport) => void): void {
    const report = new TaskReport(this.#setup.tellChanges);
    work(report);
    this.#absorb(report.result);
  }

  async #reportLater(work: (report: TaskReport) => Promise<void>): Promise<void> {
    const report = new TaskReport(this.#setup.tellChanges);
    await work(report);
    this.#absorb(report.result);
  }

  /** What the backup lacks goes; what can't is named. */
  #remove({ fd }: DirectoryHandle, dir: TreePath, name: Buffer): void {
    const { dryRun, forbidden } = this.#request;
    this.#report((report) => {
      try {
        const removed = (at: TreePath, gone: Buffer) => report.removed(at, gone);
        removeTree(fd, dir, name, { forbidden, dryRun, removed });
      } catch (error) {
        report.failed({ dir, name }, undefined, error);
      }
    });
  }

  async #linkNames(): Promise<void> {
    this.#furtherNames.flush();
    const links = new Links(this.#target.root?.fd, this.#links, this.#setup, this.#names);
    try {
      for (const batch of this.#furtherNames.forwards()) {
        this.#report((report) => {
          for (const record of batch) links.restore(record, report);
        });
        await setImmediate();
        this.#throwIfOver();
      }
    } finally {
      links.close();
    }
  }
}

const NO_NAME = Buffer.alloc(0);
