import { decodeHead, decodeState, type EntryState, EntryType, plainBlocks } from '../model/entry.ts';
import { type EntryRecord, viewRecords } from '../model/records.ts';
import * as posix from '../posix/index.ts';
import { type Attribute, type AttributeResult, applyAttributes } from './attributes.ts';
import { BlockFetcher } from './block-fetcher.ts';
import { BlockReader } from './block-reader.ts';
import type { BlockSupplier } from './block-supplier.ts';
import { checkName } from './check-name.ts';
import { type EntryNeeds, needsOf } from './entry-needs.ts';
import { FileJob, type FilePlace } from './file-job.ts';
import { PiecedLayout, plainLayout } from './file-layout.ts';
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
import { groupPieces } from './pieces.ts';
import type { EntriesTask, EntryGroup, TaskResult, WriterSetup, WriterTask } from './protocol.ts';
import { clearTheWay } from './removal.ts';
import { runStretch } from './stretch.ts';
import type { TemporaryNames } from './target-file.ts';
import { TaskReport } from './task-report.ts';
import { asBuffer } from './thread-messages.ts';
import { WantedBlocks } from './wanted-blocks.ts';

/** An entry that is being looked at or written. */
interface Entry extends FilePlace {
  readonly record: EntryRecord;
  readonly state: EntryState;
}

/** What a task still waits for. */
interface Waiting {
  readonly jobs: FileJob[];
  readonly wanted: WantedBlocks;
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
  /** Of entries just made. */
  readonly #madeStat = new posix.Stat();

  constructor(setup: WriterSetup, supplier: BlockSupplier, names: TemporaryNames) {
    this.#setup = setup;
    const frames = new FrameReader(setup, supplier);
    this.#reader = new BlockReader(setup, supplier);
    this.#fetcher = new BlockFetcher(supplier, frames, setup.readsAhead);
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
    const waiting: Waiting = { jobs: [], wanted: new WantedBlocks() };
    try {
      for (const group of task.groups) await this.#group(group, waiting, report);
      await this.#fetcher.fetch(waiting.wanted);
    } finally {
      for (const job of waiting.jobs) job.abort();
    }
  }

  async #group({ dirFd, fresh, body }: EntryGroup, waiting: Waiting, report: TaskReport): Promise<void> {
    const made = new NewEntries(this.#isRoot, this.#madeStat, fresh);
    const place: FilePlace = { dirFd, fresh, made, names: this.#names, report };
    for (const record of viewRecords(asBuffer(body))) {
      try {
        checkName(record.name);
        if (!this.#atOnce(place, record, waiting)) await this.#entry(place, record, waiting);
      } catch (error) {
        report.failed(record, decodeHead(record.state), error);
      }
    }
  }

  /** As most entries are: not there and plain, or as they were when the backup read them. False for what takes more. */
  #atOnce(place: FilePlace, record: EntryRecord, { jobs, wanted }: Waiting): boolean {
    const { dirFd, fresh, report } = place;
    const { state } = record;
    const done = (op: 'added' | 'equal') => {
      report.done(op, record, decodeHead(state));
      return true;
    };
    if (!fresh && dirFd >= 0 && this.#look(dirFd, record.name))
      return sameByHints(this.#stat, state, record.hints) && done('equal');
    if (this.#setup.dryRun) return done('added');
    const blocks = plainBlocks(state);
    if (!blocks) return false;
    const layout = plainLayout(blocks.filter((_, i) => i % 2 === 1));
    const job = new FileJob(place, { op: 'added', record, layout, xattrs: NONE });
    jobs.push(job);
    for (let i = 0; i < blocks.length; i += 2) wanted.add(state, blocks[i]!, blocks[i + 1]!, job, i / 2);
    job.begin();
    return true;
  }

  async #entry(place: FilePlace, record: EntryRecord, waiting: Waiting): Promise<void> {
    const entry: Entry = { ...place, record, state: decodeState(record.state) };
    const needs = await needsOf(entry.state, this.#reader.read);
    const { dirFd, fresh, state } = entry;
    if (fresh || dirFd < 0 || !this.#look(dirFd, record.name))
      return this.#write(entry, 'added', needs, undefined, waiting);
    if (state.type === EntryType.file) this.#existingFile(entry, needs, waiting);
    else this.#existingOther(entry, needs, waiting);
  }

  #look(dirFd: number, name: Buffer): boolean {
    const result = posix.statx(dirFd, name, this.#stat);
    if (result === -posix.ENOENT) return false;
    posix.check(result, 'statx', name);
    return true;
  }

  #existingFile(entry: Entry, needs: EntryNeeds, waiting: Waiting): void {
    const { dirFd, record, state } = entry;
    const { name, hints } = record;
    const fd = this.#stat.type === posix.S_IFREG ? openLocal(dirFd, name, this.#stat) : undefined;
    try {
      const deps = { content: this.#content, isRoot: this.#isRoot };
      const comparison: Comparison =
        fd !== undefined && comparable(this.#stat, state, hints)
          ? compareFile({ dirFd, name, fd }, this.#stat, state, needs.pieces, needs.xattrs, deps)
          : { op: 'changed' };
      if (comparison.op === 'changed') this.#write(entry, 'changed', needs, fd, waiting);
      else this.#amend(entry, fd, comparison);
    } finally {
      if (fd !== undefined) posix.close(fd);
    }
  }

  #existingOther(entry: Entry, needs: EntryNeeds, waiting: Waiting): void {
    const { dirFd, record, state } = entry;
    const { name, hints } = record;
    const local = { dirFd, name, stat: this.#stat };
    const comparison = compareOther(local, state, hints, needs.xattrs, this.#isRoot);
    if (comparison.op === 'changed') this.#write(entry, 'changed', needs, undefined, waiting);
    else this.#amend(entry, undefined, comparison);
  }

  /** Sets attributes of an entry whose content is right. */
  #amend(
    { dirFd, record, state, report }: Entry,
    fd: number | undefined,
    comparison: Exclude<Comparison, { op: 'changed' }>,
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
    waiting: Waiting,
  ): void {
    const { dirFd, record, state, report } = entry;
    const isDirectory = op === 'changed' && this.#stat.type === posix.S_IFDIR;
    if (isDirectory)
      clearTheWay(dirFd, record.dir, record.name, this.#setup, (dir, name) => report.removed(dir, name));
    if (this.#setup.dryRun) report.done(op, record, state);
    else if (state.type !== EntryType.file) report.done(op, record, state, this.#other(entry, needs));
    else this.#file(entry, op, needs, localFd, waiting);
  }

  /** Blocks that the file has in place are copied. */
  #file(
    entry: Entry,
    op: 'added' | 'changed',
    { pieces, xattrs }: EntryNeeds,
    localFd: number | undefined,
    { jobs, wanted }: Waiting,
  ): void {
    const { blocks, zeros } = groupPieces(pieces);
    const layout = new PiecedLayout({ blocks, zeros });
    const job = new FileJob(entry, { op, record: entry.record, layout, xattrs });
    jobs.push(job);
    for (const [i, block] of blocks.entries()) {
      const isLocal = localFd !== undefined && blocks.length > 1;
      const bytes = isLocal ? this.#content.block(localFd, block) : undefined;
      if (bytes) job.deliver(i, bytes);
      else wanted.add(block.id, 0, block.length, job, i);
    }
    job.begin();
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

const NONE: readonly Attribute[] = [];
