import { decodeState, type EntryState, EntryType } from '../model/entry.ts';
import { type EntryRecord, readRecords } from '../model/records.ts';
import * as posix from '../posix/index.ts';
import { type AttributeResult, applyAttributes } from './attributes.ts';
import { BlockFetcher, type WantedBlock } from './block-fetcher.ts';
import { BlockReader } from './block-reader.ts';
import type { BlockSupplier } from './block-supplier.ts';
import { checkName } from './check-name.ts';
import { type EntryNeeds, needsOf } from './entry-needs.ts';
import { FileJob } from './file-job.ts';
import { FrameReader } from './frame-reader.ts';
import { LocalContent } from './local-content.ts';
import {
  type Comparison,
  comparable,
  compareFile,
  compareOther,
  fileTypeOf,
  openLocal,
  sameByHints,
} from './local-entry.ts';
import { NewEntries } from './new-entries.ts';
import type { EntriesTask, EntryGroup, TaskResult, WriterSetup, WriterTask } from './protocol.ts';
import { clearTheWay } from './removal.ts';
import { runStretch } from './stretch.ts';
import { TargetFile, type TemporaryNames } from './target-file.ts';
import { TaskReport } from './task-report.ts';

/** An entry that is being looked at or written. */
interface Entry {
  readonly dirFd: number;
  readonly fresh: boolean;
  readonly made: NewEntries;
  readonly record: EntryRecord;
  readonly state: EntryState;
}

/** Writes entries that are no directories into open directories of the target. One per thread; tasks may overlap. */
export class EntryWriter {
  readonly #setup: WriterSetup;
  readonly #reader: BlockReader;
  readonly #fetcher: BlockFetcher;
  readonly #content: LocalContent;
  readonly #names: TemporaryNames;
  readonly #isRoot = posix.geteuid() === 0;
  /** Of the last call of `#look`; other tasks use it whenever this one waits. */
  readonly #stat = new posix.Stat();

  constructor(setup: WriterSetup, supplier: BlockSupplier, names: TemporaryNames) {
    this.#setup = setup;
    const frames = new FrameReader(setup, supplier);
    this.#reader = new BlockReader(setup, supplier);
    this.#fetcher = new BlockFetcher(supplier, frames);
    this.#content = new LocalContent(frames);
    this.#names = names;
  }

  /** Throws what ends the whole restore (`problemOf`); nothing unfinished is left then either. */
  async run(task: WriterTask): Promise<TaskResult> {
    const report = new TaskReport(this.#setup.tellChanges);
    if (task.kind === 'entries') await this.#entries(task, report);
    else await runStretch(task, this.#fetcher, this.#content, report);
    return report.result;
  }

  async #entries(task: EntriesTask, report: TaskReport): Promise<void> {
    const jobs: FileJob[] = [];
    const wanted: WantedBlock[] = [];
    try {
      for (const group of task.groups) await this.#group(group, jobs, wanted, report);
      await this.#fetcher.fetch(wanted);
    } finally {
      for (const job of jobs) job.abort();
    }
  }

  async #group(group: EntryGroup, jobs: FileJob[], wanted: WantedBlock[], report: TaskReport): Promise<void> {
    const { dirFd, fresh, body } = group;
    const made = new NewEntries(this.#isRoot, new posix.Stat());
    for (const record of readRecords(Buffer.from(body.buffer, body.byteOffset, body.byteLength))) {
      const state = decodeState(record.state);
      const entry: Entry = { dirFd, fresh, made, record, state };
      try {
        checkName(record.name);
        const job = await this.#entry(entry, report);
        if (!job) continue;
        jobs.push(job.job);
        wanted.push(...job.wanted);
      } catch (error) {
        report.failed(record, state, error);
      }
    }
  }

  async #entry(
    entry: Entry,
    report: TaskReport,
  ): Promise<{ job: FileJob; wanted: WantedBlock[] } | undefined> {
    const { dirFd, fresh, record, state } = entry;
    const absent = () => fresh || dirFd < 0 || !this.#look(dirFd, record.name);
    if (absent()) {
      if (this.#setup.dryRun) return void report.done('added', record, state);
      return this.#write(entry, 'added', await needsOf(state, this.#reader.read), undefined, report);
    }
    if (sameByHints(this.#stat, state, record.hints)) return void report.done('equal', record, state);
    const needs = await needsOf(state, this.#reader.read);
    if (absent()) return this.#write(entry, 'added', needs, undefined, report);
    return state.type === EntryType.file
      ? this.#existingFile(entry, needs, report)
      : this.#existingOther(entry, needs, report);
  }

  #look(dirFd: number, name: Buffer): boolean {
    const result = posix.statx(dirFd, name, this.#stat);
    if (result === -posix.ENOENT) return false;
    posix.check(result, 'statx', name);
    return true;
  }

  #existingFile(
    entry: Entry,
    needs: EntryNeeds,
    report: TaskReport,
  ): { job: FileJob; wanted: WantedBlock[] } | undefined {
    const { dirFd, record, state } = entry;
    const { name, hints } = record;
    const fd = this.#stat.type === posix.S_IFREG ? openLocal(dirFd, name, this.#stat) : undefined;
    try {
      const deps = { content: this.#content, isRoot: this.#isRoot };
      const comparison: Comparison =
        fd !== undefined && comparable(this.#stat, state, hints)
          ? compareFile({ dirFd, name, fd }, this.#stat, state, needs.pieces, needs.xattrs, deps)
          : { op: 'changed' };
      if (comparison.op === 'changed') return this.#write(entry, 'changed', needs, fd, report);
      this.#amend(entry, fd, comparison, report);
      return undefined;
    } finally {
      if (fd !== undefined) posix.close(fd);
    }
  }

  #existingOther(entry: Entry, needs: EntryNeeds, report: TaskReport): undefined {
    const { dirFd, record, state } = entry;
    const { name, hints } = record;
    const local = { dirFd, name, stat: this.#stat };
    const comparison = compareOther(local, state, hints, needs.xattrs, this.#isRoot);
    if (comparison.op === 'changed') this.#write(entry, 'changed', needs, undefined, report);
    else this.#amend(entry, undefined, comparison, report);
  }

  /** Sets attributes of an entry whose content is right. */
  #amend(
    { dirFd, record, state }: Entry,
    fd: number | undefined,
    comparison: Exclude<Comparison, { op: 'changed' }>,
    report: TaskReport,
  ): void {
    let result: AttributeResult | undefined;
    if (comparison.op === 'metadata' && !this.#setup.dryRun) {
      const handle = { dirFd, name: record.name, fd };
      result = applyAttributes(handle, state, comparison.steps, this.#isRoot);
    }
    report.done(comparison.op, record, state, result);
  }

  /** Makes the entry anew. `localFd`: the file that it replaces, whose blocks are used where they are the same. */
  #write(
    entry: Entry,
    op: 'added' | 'changed',
    needs: EntryNeeds,
    localFd: number | undefined,
    report: TaskReport,
  ): { job: FileJob; wanted: WantedBlock[] } | undefined {
    const { dirFd, fresh, record, state } = entry;
    const isDirectory = op === 'changed' && this.#stat.type === posix.S_IFDIR;
    if (isDirectory)
      clearTheWay(dirFd, record.dir, record.name, this.#setup, (dir, name) => report.removed(dir, name));
    if (this.#setup.dryRun) return void report.done(op, record, state);
    if (state.type !== EntryType.file) return void report.done(op, record, state, this.#other(entry, needs));
    const job = new FileJob({
      state,
      pieces: needs.pieces,
      open: () => new TargetFile(dirFd, record.name, fresh, this.#names),
      attributes: (handle) => entry.made.set(handle, state, needs.xattrs),
      done: (result) => report.done(op, record, state, result),
      failed: (error) => report.failed(record, state, error),
    });
    const local = localFd === undefined ? undefined : { fd: localFd, content: this.#content };
    return { job, wanted: job.begin(local) };
  }

  /** A symlink, fifo or device, under another name first: attributes and then the name appear at once. */
  #other({ dirFd, made, record, state }: Entry, { xattrs }: EntryNeeds): AttributeResult {
    const temporary = this.#names.next();
    const result =
      state.type === EntryType.symlink
        ? posix.symlinkat(state.target, dirFd, temporary)
        : posix.mknodat(dirFd, temporary, fileTypeOf(state.type) | 0o600, state.rdevMajor, state.rdevMinor);
    posix.check(result, state.type === EntryType.symlink ? 'symlinkat' : 'mknodat', record.name);
    try {
      const attributes = made.set({ dirFd, name: temporary, fd: undefined }, state, xattrs);
      posix.check(posix.renameat(dirFd, temporary, dirFd, record.name), 'renameat', record.name);
      return attributes;
    } catch (error) {
      posix.unlinkat(dirFd, temporary);
      throw error;
    }
  }
}
