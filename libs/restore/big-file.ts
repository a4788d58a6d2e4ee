import type { EntryState } from '../model/entry.ts';
import type { EntryRecord } from '../model/records.ts';
import { reviveError } from '../model/sent-error.ts';
import * as posix from '../posix/index.ts';
import { applyAttributes } from './attributes.ts';
import type { BlockReader } from './block-reader.ts';
import { checkName } from './check-name.ts';
import { piecesOf } from './content.ts';
import { attributesOf } from './entry-needs.ts';
import { type Comparison, comparable, compareAttributes, openLocal, sameByHints } from './local-entry.ts';
import { NewEntries } from './new-entries.ts';
import type { Piece } from './pieces.ts';
import type { StretchTask, TaskResult, WriterSetup, WriterTask } from './protocol.ts';
import { clearTheWay } from './removal.ts';
import { TargetFile, type TemporaryNames } from './target-file.ts';
import { TaskReport } from './task-report.ts';

import type { TaskPool } from './thread-pool.ts';

/** Files above this size are split among the threads. */
export const BIG_FILE_BYTES = 16 * 1024 * 1024;
const STRETCH_BYTES = 8 * 1024 * 1024;
const STRETCH_PIECES = 1024;

/** A stretch of a file: its pieces, and the span that they and the holes between them make up. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly pieces: readonly Piece[];
}

/** Cuts a file's pieces, given in order, between blocks. The stretches make up the whole file. */
export async function* stretchesOf(
  pieces: AsyncIterable<Piece> | Iterable<Piece>,
  size: number,
  bytes = STRETCH_BYTES,
): AsyncGenerator<Stretch> {
  let start = 0;
  let at = 0;
  let held: Piece[] = [];
  let length = 0;
  for await (const piece of pieces) {
    if (piece.from === 0 && (length >= bytes || held.length >= STRETCH_PIECES)) {
      yield { start, end: at, pieces: held };
      start = at;
      held = [];
      length = 0;
    }
    held.push(piece);
    length += piece.length;
    at = piece.offset + piece.length;
  }
  yield { start, end: size, pieces: held };
}

export interface BigFilePlace {
  readonly dirFd: number;
  readonly fresh: boolean;
  readonly record: EntryRecord;
  readonly state: EntryState;
}

interface Deps {
  readonly setup: WriterSetup;
  readonly reader: BlockReader;
  readonly pool: TaskPool<WriterTask, TaskResult>;
  readonly names: TemporaryNames;
}

/** Compares and writes one large file by stretches, which the pool's threads do at the same time. */
export class BigFile {
  readonly #place: BigFilePlace;
  readonly #deps: Deps;
  readonly #isRoot = posix.geteuid() === 0;
  readonly #stat = new posix.Stat();
  readonly #report: TaskReport;

  constructor(place: BigFilePlace, deps: Deps) {
    this.#place = place;
    this.#deps = deps;
    this.#report = new TaskReport(deps.setup.tellChanges);
  }

  /** As EntryWriter.run. */
  async run(): Promise<TaskResult> {
    const { record, state } = this.#place;
    try {
      checkName(record.name);
      await this.#restore();
    } catch (error) {
      this.#report.failed(record, state, error);
    }
    return this.#report.result;
  }

  async #restore(): Promise<void> {
    const { dirFd, fresh, record, state } = this.#place;
    const there = !fresh && dirFd >= 0 && this.#look();
    if (there && sameByHints(this.#stat, record.state, record.hints))
      return this.#report.done('equal', record, state);
    const localFd =
      there && this.#stat.type === posix.S_IFREG ? openLocal(dirFd, record.name, this.#stat) : undefined;
    try {
      const comparison = localFd === undefined ? undefined : await this.#compare(localFd);
      if (!comparison || comparison.op === 'changed')
        await this.#write(there ? 'changed' : 'added', localFd ?? -1);
      else this.#amend(localFd!, comparison);
    } finally {
      if (localFd !== undefined) posix.close(localFd);
    }
  }

  #look(): boolean {
    const { dirFd, record } = this.#place;
    const result = posix.statx(dirFd, record.name, this.#stat);
    if (result !== -posix.ENOENT) posix.check(result, 'statx', record.name);
    return result === 0;
  }

  async #compare(fd: number): Promise<Comparison> {
    const { dirFd, record, state } = this.#place;
    if (!comparable(this.#stat, state, record.hints)) return { op: 'changed' };
    const results = await this.#stretches('compare', -1, fd);
    if (!results.every(({ equal }) => equal)) return { op: 'changed' };
    const wanted = await attributesOf(state, this.#deps.reader.read);
    return compareAttributes({ dirFd, name: record.name, fd }, this.#stat, state, wanted, this.#isRoot);
  }

  #amend(fd: number, comparison: Exclude<Comparison, { op: 'changed' }>): void {
    const { dirFd, record, state } = this.#place;
    if (comparison.op === 'equal' || this.#deps.setup.dryRun) {
      this.#report.done(comparison.op, record, state);
      return;
    }
    const handle = { dirFd, name: record.name, fd };
    const result = applyAttributes(handle, state, comparison.steps, this.#isRoot);
    this.#report.done('metadata', record, state, result);
  }

  async #write(op: 'added' | 'changed', localFd: number): Promise<void> {
    const { dirFd, fresh, record, state } = this.#place;
    const { setup, names, reader } = this.#deps;
    if (op === 'changed' && this.#stat.type === posix.S_IFDIR)
      clearTheWay(dirFd, record.dir, record.name, setup, (dir, name) => this.#report.removed(dir, name));
    if (setup.dryRun) return this.#report.done(op, record, state);
    const wanted = await attributesOf(state, reader.read);
    const made = new NewEntries(this.#isRoot, new posix.Stat(), fresh);
    const mode = made.modeToMake(state.mode);
    const file = new TargetFile({ dirFd, name: record.name, mode }, fresh, names);
    try {
      for (const { problems } of await this.#stretches('write', file.fd, localFd)) {
        if (problems[0]) throw reviveError(problems[0]);
      }
    } catch (error) {
      file.abort();
      throw error;
    }
    const result = file.finish(state.size, (handle) => made.set(handle, state, wanted));
    this.#report.done(op, record, state, result);
  }

  /** Waits for every stretch that was begun, also after an error: threads use the descriptors until then. */
  async #stretches(kind: StretchTask['kind'], fd: number, localFd: number): Promise<TaskResult[]> {
    const { pool, reader } = this.#deps;
    const { state } = this.#place;
    const results: TaskResult[] = [];
    const running = new Set<Promise<void>>();
    let failure: unknown;
    try {
      for await (const stretch of stretchesOf(piecesOf(state, reader.read), state.size)) {
        await pool.ready();
        if (failure || results.some(isBad)) break;
        const task = pool.run({ kind, fd, localFd, ...stretch }).then(
          (result) => void results.push(result),
          (error) => {
            failure ??= error;
          },
        );
        running.add(task);
        task.finally(() => running.delete(task));
      }
    } catch (error) {
      failure ??= error;
    }
    await Promise.all(running);
    if (failure) throw failure;
    return results;
  }
}

const isBad = ({ equal, problems }: TaskResult): boolean => !equal || problems.length > 0;
