import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { BackupEntries } from '../catalogue/port.ts';
import { decodeState, EntryType } from '../model/entry.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import type { RecordView } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import { geteuid } from '../posix/index.ts';
import { BIG_FILE_BYTES, BigFile } from './big-file.ts';
import { BlockReader } from './block-reader.ts';
import type { ReadingKeys, RestoreSupplier } from './block-supplier.ts';
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
import { RestorePlan } from './restore-plan.ts';
import { Spool } from './spool.ts';
import { isOneName, linkGroupOf, sizeOf, typeOf } from './state-fields.ts';
import { TemporaryNames } from './target-file.ts';
import { type Level, TargetWalk } from './target-walk.ts';
import { TaskBuilder } from './task-builder.ts';
import { TaskReport } from './task-report.ts';
import { asBuffer } from './thread-messages.ts';
import { InlinePool, type TaskPool, ThreadPool } from './thread-pool.ts';

export interface RestoreRequest {
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
  readonly onProgress?: (progress: { files: number; bytes: number; totalBytes: number | undefined }) => void;
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
  /** Of the backup that is restored. */
  readonly entries: BackupEntries;
  readonly supplier: RestoreSupplier;
  readonly keys: ReadingKeys;
}

/** Large files under way; each has two stretches or more with the threads. */
const BIG_FILES = 2;

const SCRIPT = new URL(
  import.meta.url.endsWith('.ts') ? './restore-worker.ts' : './restore-worker.js',
  import.meta.url,
);

/** Brings entries of one backup into a folder, writing only what differs there. */
export async function restore(request: RestoreRequest, deps: RestoreDeps): Promise<RestoreResult> {
  const target = await openTarget(request);
  let plan: RestorePlan | undefined;
  let pool: WriterPool | undefined;
  try {
    plan = new RestorePlan(deps.entries, request);
    const setup = setupOf(request, deps);
    if (await plan.isLarge) pool = new ThreadPool(SCRIPT, setup, request.threads, deps.supplier);
    // A path that is not there is said before anything is written, and nothing is deleted by half a list.
    if (request.paths.length > 0 || request.delete) await plan.whole;
    return await new Restore(request, deps, { target, plan, setup, pool }).run();
  } finally {
    await plan?.close();
    await pool?.close();
    target.root?.release();
  }
}

type WriterPool = TaskPool<WriterTask, TaskResult>;

interface Prepared {
  readonly target: OpenTarget;
  readonly plan: RestorePlan;
  readonly setup: WriterSetup;
  /** None: it is small. */
  readonly pool: WriterPool | undefined;
}

/** Reads of a task over a network that are under way at once, 2 MiB each at most: they hide its latency. */
const FAR_READS = 4;

function setupOf(request: RestoreRequest, { keys, supplier }: RestoreDeps): WriterSetup {
  const { dryRun, forbidden } = request;
  return {
    domainId: keys.domainId,
    dedupKey: keys.dedupKey,
    dryRun,
    delete: request.delete,
    tellChanges: request.onChange !== undefined,
    readsAhead: supplier.isFar ? FAR_READS : 1,
    forbidden,
  };
}

/** Walks the plan and the target together; what is no directory goes in tasks to the pool. */
class Restore {
  readonly #request: RestoreRequest;
  readonly #plan: RestorePlan;
  readonly #setup: WriterSetup;
  readonly #supplier: RestoreSupplier;
  readonly #reader: BlockReader;
  readonly #pool: WriterPool;
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

  constructor(request: RestoreRequest, deps: RestoreDeps, { target, plan, setup, pool }: Prepared) {
    const { keys, supplier } = deps;
    this.#request = request;
    this.#plan = plan;
    this.#target = target;
    this.#setup = setup;
    this.#supplier = supplier;
    this.#reader = new BlockReader(keys, supplier);
    this.#pool = pool ?? this.#inlinePool();
    this.#walk = this.#makeWalk();
    this.#directories = new Directories(target.root, this.#setup, this.#reader, request.spoolDir);
    this.#links = new LinkTable(request.spoolDir);
    this.#furtherNames = new Spool(request.spoolDir);
  }

  #inlinePool(): WriterPool {
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
      for await (const batch of this.#plan.batches()) {
        for (const record of batch) {
          const later = this.#entry(record);
          if (later) await later;
        }
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

  /** Undefined where nothing has to be waited for, as of most. */
  #entry(record: RecordView): Promise<void> | undefined {
    const { dir, state } = record;
    const type = typeOf(state);
    if (dir.length === 0 && record.name.length === 0)
      return this.#reportLater((report) => this.#directories.root(record, this.#target.fresh, report));
    const level = this.#walk.enter(dir);
    this.#walk.reach(level, record);
    if (type === EntryType.directory) return this.#directory(level, record);
    if (level.error !== undefined)
      return this.#report((report) => report.failed(record, undefined, level.error));
    if (!isOneName(state) && !this.#links.isFirst(linkGroupOf(state), record)) {
      this.#furtherNames.copy(record);
      return undefined;
    }
    const bytes = type === EntryType.file ? sizeOf(state) : 0;
    if (bytes > BIG_FILE_BYTES) return this.#bigFile(level, record);
    this.#builder.add(level, record, bytes);
    return this.#builder.full ? this.#submit() : undefined;
  }

  #directory(level: Level, record: RecordView): Promise<void> | undefined {
    const report = new TaskReport(this.#setup.tellChanges);
    const made = (fresh: boolean) => {
      this.#walk.add(level, record.name, fresh);
      this.#absorb(report.result);
    };
    const failed = (error: unknown) => {
      report.failed(record, undefined, error);
      this.#absorb(report.result);
    };
    let fresh: boolean | Promise<boolean>;
    try {
      fresh = this.#directories.make(level, record, report);
    } catch (error) {
      failed(error);
      return undefined;
    }
    if (fresh instanceof Promise) return fresh.then(made, failed);
    made(fresh);
    return undefined;
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
  async #bigFile(level: Level, record: RecordView): Promise<void> {
    while (this.#bigFiles >= BIG_FILES) await Promise.race(this.#running);
    this.#throwIfOver();
    this.#bigFiles++;
    const { handle, fresh } = level;
    const place = { dirFd: handle?.fd ?? -1, fresh, record, state: decodeState(record.state) };
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

  #report(work: (report: TaskReport) => void): undefined {
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
