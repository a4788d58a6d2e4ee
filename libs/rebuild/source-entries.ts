import { DigestSum, EntryHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { RecordOp } from '../model/records.ts';
import type { EntryVersion, Registry, RunPart, RunRef, SourceRow } from '../registry/port.ts';
import type { Commit } from './history.ts';
import { type MergedRecord, mergeRuns, problemsOf } from './merge-runs.ts';
import { RunCursor, type RunSource } from './run-cursor.ts';

/** The newest backup whose entries the registry has; seq 0: none. */
export interface Proved {
  readonly seq: number;
  readonly runs: readonly RunRef[];
  readonly stateDigest: Buffer;
}

export const NOTHING_PROVED: Proved = { seq: 0, runs: [], stateDigest: Buffer.alloc(32) };

const EMPTY = Buffer.alloc(0);

/**
 * Makes the entries of a source's backups, oldest first, from their runs. Each backup's own run list is the truth for
 * it; what is written under its seq is what differs from the backup before it, so that "as of" gives its tree.
 */
export class SourceEntries {
  readonly #registry: Registry;
  readonly #runs: RunSource;
  readonly #source: SourceRow;
  readonly #hasher: EntryHasher;

  constructor(registry: Registry, runs: RunSource, source: SourceRow) {
    this.#registry = registry;
    this.#runs = runs;
    this.#source = source;
    this.#hasher = new EntryHasher(source.key);
  }

  /**
   * Writes the entries and problems of a commit that follows `before`, and proves them against its state digest.
   * Where that fails (TM1503), or a run can't be read, nothing of them stays.
   */
  async apply(before: Proved, commit: Commit): Promise<Proved> {
    const { entries } = this.#registry;
    const { sourceSeq: seq } = commit;
    await entries.remove(this.#source.id, seq);
    try {
      const stateDigest = await this.#write(before, commit);
      if (!stateDigest.equals(Buffer.from(commit.stateDigest, 'hex')))
        throw new TmError('TM1503', `backup ${commit.label}`);
      return { seq, runs: commit.runs, stateDigest };
    } catch (error) {
      await entries.remove(this.#source.id, seq);
      throw error;
    }
  }

  /** Gives the state digest of what is visible as of the commit's seq. */
  async #write(before: Proved, { sourceSeq, runs }: Commit): Promise<Buffer> {
    const { entries } = this.#registry;
    const kept = sharedRuns(before.runs, runs);
    const cursors = runs.slice(kept).map((run) => new RunCursor(this.#runs, run));
    const sum = DigestSum.from(before.stateDigest);
    for await (const page of mergeRuns(cursors)) {
      const versions = await this.#versions(before.seq, sourceSeq, page, sum);
      if (versions.length > 0) await entries.insert(this.#source.id, versions, []);
    }
    const last = cursors.at(-1);
    if (!last || last.run.toSeq !== sourceSeq) return sum.bytes();
    for await (const page of problemsOf(last))
      await entries.insert(
        this.#source.id,
        [],
        page.map(({ dir, name, code }) => ({ dir, name, code, seq: sourceSeq })),
      );
    return sum.bytes();
  }

  /** What the page adds to the registry under `seq`; `sum` follows. */
  async #versions(
    beforeSeq: number,
    seq: number,
    page: readonly MergedRecord[],
    sum: DigestSum,
  ): Promise<EntryVersion[]> {
    const keys = page.map(({ record }) => record);
    const there =
      beforeSeq === 0 ? [] : await this.#registry.entries.lookup(this.#source.id, beforeSeq, keys);
    const versions: EntryVersion[] = [];
    page.forEach(({ record, fromSeq }, i) => {
      const { dir, name, state, hints } = record;
      const old = there[i];
      const hash = record.op === RecordOp.present ? this.#hasher.hash(dir, name, state) : EMPTY;
      const differs = old ? !old.hash.equals(hash) : record.op === RecordOp.present;
      if (!differs && !isNeededByRuns(old, fromSeq)) return;
      if (differs && old) sum.subtract(old.hash);
      if (differs && record.op === RecordOp.present) sum.add(hash);
      versions.push({ dir, name, seq, op: record.op, hash, state, hints });
    });
    return versions;
  }
}

/**
 * A later run may be written anew from the registry as "newest versions after fromSeq". A path that was changed after
 * fromSeq, and back again before the next kept backup, must have a version there, or an older run would win.
 */
const isNeededByRuns = (old: EntryVersion | undefined, fromSeq: number): boolean =>
  fromSeq > 0 && (old?.seq ?? 0) <= fromSeq;

/** How many runs at the beginning of both lists are the same: nothing in them differs between the two trees. */
function sharedRuns(a: readonly RunRef[], b: readonly RunRef[]): number {
  let n = 0;
  while (n < a.length && n < b.length && sameRun(a[n]!, b[n]!)) n++;
  return n;
}

const sameRun = (a: RunRef, b: RunRef): boolean =>
  a === b ||
  (a.fromSeq === b.fromSeq &&
    a.toSeq === b.toSeq &&
    a.parts.length === b.parts.length &&
    a.parts.every((part, i) => placeOf(part) === placeOf(b.parts[i]!)));

const placeOf = (part: RunPart): string =>
  part.in === 'pack' ? `${part.pack} ${part.frameOffset}` : `${part.writer} ${part.number} ${part.section}`;

/** Goes through the whole tree of a commit: pages of states. Throws what keeps a run from being read. */
export async function* statesOf(runs: RunSource, commit: Commit): AsyncGenerator<Buffer[]> {
  const cursors = commit.runs.map((run) => new RunCursor(runs, run));
  for await (const page of mergeRuns(cursors))
    yield page.filter(({ record }) => record.op === RecordOp.present).map(({ record }) => record.state);
}
