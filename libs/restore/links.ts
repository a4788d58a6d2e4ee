import { decodeState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { EntryRecord } from '../model/records.ts';
import { joinPath, pathToDisplay } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { checkName } from './check-name.ts';
import type { LinkTable } from './link-table.ts';
import { OpenPath } from './open-path.ts';
import { LinkOutcome, type WriterSetup } from './protocol.ts';
import { clearTheWay } from './removal.ts';
import type { TemporaryNames } from './target-file.ts';
import type { TaskReport } from './task-report.ts';

/** Makes further names of files whose first names are restored. */
export class Links {
  readonly #table: LinkTable;
  readonly #setup: WriterSetup;
  readonly #names: TemporaryNames;
  /** Undefined in a dry run where there is no target yet. */
  readonly #own: OpenPath | undefined;
  readonly #firsts: OpenPath | undefined;
  readonly #stat = new posix.Stat();

  constructor(rootFd: number | undefined, table: LinkTable, setup: WriterSetup, names: TemporaryNames) {
    this.#table = table;
    this.#setup = setup;
    this.#names = names;
    this.#own = rootFd === undefined ? undefined : new OpenPath(rootFd);
    this.#firsts = rootFd === undefined ? undefined : new OpenPath(rootFd);
  }

  restore(record: EntryRecord, report: TaskReport): void {
    const state = decodeState(record.state);
    try {
      checkName(record.name);
      report.done(this.#restore(record, state.linkGroup, report), record, { ...state, linkGroup: 0n });
    } catch (error) {
      report.failed(record, undefined, error);
    }
  }

  #restore({ dir, name }: EntryRecord, group: bigint, report: TaskReport): 'equal' | 'added' | 'changed' {
    const first = this.#table.first(group);
    if (first.outcome === undefined || first.outcome === LinkOutcome.failed) {
      const path = pathToDisplay(joinPath(first.dir, first.name));
      throw new TmError('TM1602', `it is another name of ${path}, which could not be restored`);
    }
    const { dryRun } = this.#setup;
    const firstFd = this.#enter(this.#firsts, first.dir);
    const ino = firstFd === undefined ? undefined : this.#look(firstFd, first.name)?.ino;
    const dirFd = this.#enter(this.#own, dir);
    const there = dirFd === undefined ? undefined : this.#look(dirFd, name);
    const rewritten = dryRun && first.outcome === LinkOutcome.written;
    if (there && there.ino === ino && !rewritten) return 'equal';
    if (there?.type === posix.S_IFDIR)
      clearTheWay(dirFd!, dir, name, this.#setup, (at, gone) => report.removed(at, gone));
    if (!dryRun) this.#link(firstFd!, first.name, dirFd!, name);
    return there ? 'changed' : 'added';
  }

  #look(dirFd: number, name: Buffer): { ino: bigint; type: number } | undefined {
    const result = posix.statx(dirFd, name, this.#stat);
    if (result === -posix.ENOENT) return undefined;
    posix.check(result, 'statx', name);
    return { ino: this.#stat.ino, type: this.#stat.type };
  }

  /** Undefined in a dry run where the directory is not there yet. */
  #enter(path: OpenPath | undefined, dir: Buffer): number | undefined {
    try {
      return path?.enter(dir);
    } catch (error) {
      if (this.#setup.dryRun) return undefined;
      throw error;
    }
  }

  #link(firstFd: number, first: Buffer, dirFd: number, name: Buffer): void {
    const direct = posix.linkat(firstFd, first, dirFd, name);
    if (direct === 0) return;
    if (direct !== -posix.EEXIST) posix.check(direct, 'linkat', name);
    const temporary = this.#names.next();
    posix.check(posix.linkat(firstFd, first, dirFd, temporary), 'linkat', name);
    const renamed = posix.renameat(dirFd, temporary, dirFd, name);
    posix.unlinkat(dirFd, temporary); // left over where both were names of one file already
    posix.check(renamed, 'renameat', name);
  }

  close(): void {
    this.#own?.close();
    this.#firsts?.close();
  }
}
