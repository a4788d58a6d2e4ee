import { decodeState, type EntryState } from '../model/entry.ts';
import type { RecordView } from '../model/records.ts';
import { joinPath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import { applyAttributes } from './attributes.ts';
import type { BlockReader } from './block-reader.ts';
import { checkName } from './check-name.ts';
import type { DirectoryHandle } from './directory-handle.ts';
import { attributesOf } from './entry-needs.ts';
import { compareAttributes, sameByHints } from './local-entry.ts';
import { OpenPath } from './open-path.ts';
import type { WriterSetup } from './protocol.ts';
import { Spool } from './spool.ts';
import type { Level } from './target-walk.ts';
import type { TaskReport } from './task-report.ts';

/** Makes directories as the plan comes to them, and gives them their attributes when all else is done, deepest first. */
export class Directories {
  readonly #setup: WriterSetup;
  readonly #reader: BlockReader;
  readonly #root: DirectoryHandle | undefined;
  readonly #isRoot = posix.geteuid() === 0;
  readonly #stat = new posix.Stat();
  readonly #made: Spool;

  constructor(root: DirectoryHandle | undefined, setup: WriterSetup, reader: BlockReader, spoolDir: string) {
    this.#root = root;
    this.#setup = setup;
    this.#reader = reader;
    this.#made = new Spool(spoolDir);
  }

  /** The root of the target, which is there but in a dry run. */
  async root(record: RecordView, fresh: boolean, report: TaskReport): Promise<void> {
    const state = decodeState(record.state);
    const op = fresh || !this.#root ? 'added' : await this.#compare(this.#root.fd, NO_NAME, record, state);
    report.directory(op, record);
    this.#made.copy(record);
  }

  /** Gives whether this restore made it; a promise where it has to be compared. Throws where it can't be made. */
  make(level: Level, record: RecordView, report: TaskReport): boolean | Promise<boolean> {
    const { name } = record;
    checkName(name);
    if (!level.handle && level.error !== undefined) throw level.error;
    const there = level.handle && !level.fresh && this.#look(level.handle.fd, name);
    if (there && this.#stat.type === posix.S_IFDIR) return this.#keep(level.handle.fd, name, record, report);
    const fresh = this.#setup.dryRun || this.#mkdir(level.handle!.fd, name, there === true);
    report.directory(there ? 'changed' : 'added', record);
    this.#made.copy(record);
    return fresh;
  }

  /** One that is there; it has just been looked at. */
  #keep(dirFd: number, name: Buffer, record: RecordView, report: TaskReport): false | Promise<boolean> {
    const keep = (op: 'equal' | 'metadata'): false => {
      report.directory(op, record);
      this.#made.copy(record);
      return false;
    };
    if (sameByHints(this.#stat, record.state, record.hints)) return keep('equal');
    return this.#compare(dirFd, name, record, decodeState(record.state)).then(keep);
  }

  #look(dirFd: number, name: Buffer): boolean {
    const result = posix.statx(dirFd, name, this.#stat);
    if (result !== -posix.ENOENT) posix.check(result, 'statx', name);
    return result === 0;
  }

  /** False where somebody else made one at the same time. */
  #mkdir(dirFd: number, name: Buffer, taken: boolean): boolean {
    if (taken) posix.check(posix.unlinkat(dirFd, name), 'unlinkat', name);
    const result = posix.mkdirat(dirFd, name, 0o700);
    if (result !== -posix.EEXIST) posix.check(result, 'mkdirat', name);
    return result === 0;
  }

  async #compare(
    dirFd: number,
    name: Buffer,
    record: RecordView,
    state: EntryState,
  ): Promise<'equal' | 'metadata'> {
    const wanted = await attributesOf(state, this.#reader.read);
    const isSelf = name.length === 0;
    if (isSelf) posix.check(posix.fstat(dirFd, this.#stat), 'fstat');
    else posix.check(posix.statx(dirFd, name, this.#stat), 'statx', name);
    if (sameByHints(this.#stat, record.state, record.hints)) return 'equal';
    const handle = { dirFd, name, fd: isSelf ? dirFd : undefined };
    return compareAttributes(handle, this.#stat, state, wanted, this.#isRoot).op === 'equal'
      ? 'equal'
      : 'metadata';
  }

  /** Owner, attributes, mode and times of all that were made or met; nothing is set that is right already. */
  async finish(report: TaskReport): Promise<void> {
    if (this.#setup.dryRun || !this.#root) return;
    this.#made.flush();
    const path = new OpenPath(this.#root.fd);
    try {
      for (const batch of this.#made.backwards()) {
        for (const record of batch) {
          try {
            await this.#finish(path, record, report);
          } catch (error) {
            report.failed(record, undefined, error);
          }
        }
      }
    } finally {
      path.close();
    }
  }

  async #finish(path: OpenPath, record: RecordView, report: TaskReport): Promise<void> {
    const { dir, name } = record;
    if (this.#isAsBefore(path, record)) return;
    const state = decodeState(record.state);
    const wanted = await attributesOf(state, this.#reader.read);
    const fd = path.enter(name.length === 0 ? dir : joinPath(dir, name));
    posix.check(posix.fstat(fd, this.#stat), 'fstat');
    const handle = { dirFd: fd, name, fd };
    const comparison = compareAttributes(handle, this.#stat, state, wanted, this.#isRoot);
    if (comparison.op !== 'metadata') return;
    report.attributes(record, applyAttributes(handle, state, comparison.steps, this.#isRoot));
  }

  /** Looked at by its name alone: in a restore in place most directories end here. */
  #isAsBefore(path: OpenPath, { dir, name, state, hints }: RecordView): boolean {
    if (name.length === 0) return false;
    posix.check(posix.statx(path.enter(dir), name, this.#stat), 'statx', name);
    return sameByHints(this.#stat, state, hints);
  }

  close(): void {
    this.#made.close();
  }
}

const NO_NAME = Buffer.alloc(0);
