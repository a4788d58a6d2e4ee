import { type BlockIntake, BlockKind } from '../blocks/intake.ts';
import type { Seal } from '../contracts/messages.ts';
import type { BackupCounts, BackupInfo } from '../model/backup.ts';
import { DigestSum } from '../model/digests.ts';
import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';
import type { FixedSource } from '../registry/fixed-sources.ts';
import type { JournalPlace, PieceTotals, Registry, RunRef } from '../registry/port.ts';
import type { JournalRecordOf, JournalWriter } from '../store/journal.ts';
import { currentOwner } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { commitRequestOf } from './commit-request.ts';
import { planRun } from './run-list.ts';
import { runRef, type SealBlock, type WrittenRun, writeRun } from './run-writer.ts';
import { settle } from './settle.ts';
import { sealSource, sourceRecord } from './source-record.ts';

export interface CommitterDeps {
  readonly registry: Registry;
  readonly store: Store;
  readonly ownerGeneration: number;
  readonly intake: BlockIntake;
  readonly seal: SealBlock;
  /** The writer's journal, opened at the registry's head; called under the writer's lock. */
  readonly journal: () => Promise<JournalWriter>;
  readonly writer: string;
  readonly now: () => Date;
}

/** What a commit is made of, ready before the writer's lock is taken. */
interface Made {
  /** Runs of the base that stay. */
  readonly runs: readonly RunRef[];
  readonly run: WrittenRun;
  readonly counts: BackupCounts;
  /** How many pieces were proved. */
  readonly pieces: number;
  readonly baseDigest: Buffer;
  /** The sealed tags, if there are any. */
  readonly tags: readonly Buffer[];
  /** The source's sealed secret, which every full repeats. */
  readonly repeated: readonly Buffer[];
}

/** How a backup ended. Not knowing it is an error that is thrown: then `settle` has to be called, again and again. */
export type CommitOutcome =
  | { readonly state: 'committed'; readonly backup: BackupInfo }
  | { readonly state: 'failed'; readonly error: TmError };

/**
 * Commits complete backups: proves the state digest, makes the run durable, then the journal object, then the one
 * Postgres transaction that makes the backup visible (1-architecture, promises 4, 5 and 8).
 */
export class Committer {
  readonly #deps: CommitterDeps;
  /** What went wrong with backups that are not settled yet. */
  readonly #errors = new Map<string, TmError>();

  constructor(deps: CommitterDeps) {
    this.#deps = deps;
  }

  /**
   * Of a backup that is sealed and whole: `totals` are those of all its pieces. After an error from the journal on, its
   * outcome is looked up, never repeated.
   */
  async commit(
    backup: BackupInfo,
    source: FixedSource,
    seal: Seal,
    totals: PieceTotals,
  ): Promise<CommitOutcome> {
    const { writer } = this.#deps;
    const base = await this.#base(backup);
    const baseDigest = base.stateDigest;
    prove(backup, seal, totals, baseDigest);
    const { runs, run } = await this.#run(backup, source, totals, base.runs);
    const made: Made = {
      runs,
      run,
      counts: countsOf(seal, totals),
      pieces: totals.batches.reduce((sum, count) => sum + count, 0),
      baseDigest,
      tags: await this.#sealTags(backup),
      repeated: backup.kind === 'full' ? [await sealSource(source, this.#deps.seal)] : [],
    };
    const outcome = await this.#underWriter(writer, async (): Promise<CommitOutcome | undefined> => {
      const journal = await this.#deps.journal();
      const place = { writer, number: journal.next() };
      try {
        const committed = await this.#write(backup, source, seal, made, journal);
        return committed && { state: 'committed', backup: committed };
      } catch (error) {
        return this.#settleAfter(backup.id, place, error);
      }
    });
    return outcome ?? this.settle(backup);
  }

  #underWriter<T>(writer: string, work: () => Promise<T>): Promise<T> {
    return this.#deps.registry.journal.withStoreAndWriter(writer, work);
  }

  /** Of a backup that is past `sealed`: how it ended; one that is still committing is decided by the journal. */
  async settle({ id }: BackupInfo): Promise<CommitOutcome> {
    const { registry } = this.#deps;
    const place = await registry.backups.placeOf(id);
    if (!place) return outcomeOf((await registry.backups.get(id))!, this.#errors.get(id));
    const outcome = await this.#underWriter(place.writer, () =>
      this.#settleAfter(id, place, this.#errors.get(id) ?? new TmError('TM1502', id)),
    );
    if (!outcome) throw new Error(`backup ${id} names another journal object than before`);
    return outcome;
  }

  /** Journal object, then registry. Undefined where somebody else has begun to commit the backup: nothing is written then. */
  async #write(
    backup: BackupInfo,
    source: FixedSource,
    seal: Seal,
    { runs, run, counts, pieces, baseDigest, tags, repeated }: Made,
    journal: JournalWriter,
  ): Promise<BackupInfo | undefined> {
    const { registry, writer } = this.#deps;
    const place = { writer, number: journal.next() };
    const named = await registry.backups.committing(backup.id, backup.epoch, place, pieces);
    if (!named.ours) return undefined;
    const sections = [...(run.inline ? [run.inline.bytes] : []), ...tags];
    const record = this.#record(backup, source, seal, {
      counts,
      runs: [...runs, runRef(run, place)],
      committedAt: named.at,
      baseDigest,
      lastSection: sections.length - 1,
    });
    const again = repeated.map(() => sourceRecord(source, sections.length));
    const head = await journal.append([...again, record], [...sections, ...repeated]);
    return registry.backups.commit(commitRequestOf(backup, record, head, seal.rootHint));
  }

  /** Undefined where the backup is being committed by another journal object, whose writer's lock is not held. */
  async #settleAfter(
    backupId: string,
    place: JournalPlace,
    cause: unknown,
  ): Promise<CommitOutcome | undefined> {
    const error = await this.#explained(cause);
    this.#errors.set(backupId, error);
    const backup = await settle(this.#deps, backupId, place, error.code);
    if (backup.state === 'open' || backup.state === 'sealed') throw error;
    this.#errors.delete(backupId);
    if (backup.state === 'committing') return undefined;
    return outcomeOf(backup, error);
  }

  /** A number that somebody else has taken means, where another registry claimed the store, that the store is lost. */
  async #explained(cause: unknown): Promise<TmError> {
    const error = cause instanceof TmError ? cause : new TmError('TM1099', String(cause), { cause });
    if (error.code !== 'TM1210') return error;
    const owner = await currentOwner(this.#deps.store);
    if (!owner || owner.generation === this.#deps.ownerGeneration) return error;
    return new TmError('TM1207', `${this.#deps.store.url} belongs to registry ${owner.registryId}`, {
      cause,
    });
  }

  async #base({ sourceId, baseSeq }: BackupInfo): Promise<{ stateDigest: Buffer; runs: readonly RunRef[] }> {
    if (baseSeq === 0) return { stateDigest: Buffer.alloc(32), runs: [] };
    const base = await this.#deps.registry.backups.baseOf(sourceId, baseSeq);
    const { stateDigest, runs = [] } = base ?? {};
    if (!stateDigest) throw new TmError('TM1303', `backup ${baseSeq} has no state digest`);
    return { stateDigest, runs };
  }

  async #run(
    backup: BackupInfo,
    source: FixedSource,
    totals: PieceTotals,
    base: readonly RunRef[],
  ): Promise<{ runs: RunRef[]; run: WrittenRun }> {
    const { added, changed, metadata, deleted } = totals.counts;
    const plan = planRun(base, added + changed + metadata + deleted);
    const deps = { ...this.#deps, domain: source.domain };
    const seqs = { from: plan.fromSeq, to: backup.seq };
    const run = await writeRun(deps, source.id, seqs, totals.counts.kept > 0);
    return { runs: base.slice(0, plan.keep), run };
  }

  /** Tags are secret: they travel in a section of their own. */
  async #sealTags(backup: BackupInfo): Promise<Buffer[]> {
    if (Object.keys(backup.tags).length === 0) return [];
    const sealed = await this.#deps.seal(Buffer.from(JSON.stringify({ tags: backup.tags })), BlockKind.run);
    return [sealed.bytes];
  }

  #record(
    backup: BackupInfo,
    source: FixedSource,
    seal: Seal,
    made: {
      counts: BackupCounts;
      runs: readonly RunRef[];
      committedAt: Date;
      baseDigest: Buffer;
      lastSection: number;
    },
  ): JournalRecordOf<'commit'> {
    const secret = Object.keys(backup.tags).length > 0 ? { sealed: made.lastSection } : {};
    return {
      ...secret,
      kind: 'commit',
      source: source.uid,
      sourceSeq: backup.seq,
      epoch: backup.epoch,
      backupId: backup.id,
      backupKind: backup.kind,
      label: backup.label,
      baselineSeq: backup.baselineSeq,
      baseSeq: backup.baseSeq,
      stateDigest: seal.stateDigest.toString('hex'),
      baseDigest: made.baseDigest.toString('hex'),
      counts: { ...made.counts },
      openedAt: backup.openedAt.toISOString(),
      readFrom: new Date(seal.readFrom).toISOString(),
      readTo: new Date(seal.readTo).toISOString(),
      time: made.committedAt.toISOString(),
      predecessor: { sourceSeq: backup.baseSeq },
      rootHint: seal.rootHint,
      ...(seal.gaps && { gaps: [...seal.gaps] }),
      runs: [...made.runs],
    };
  }
}

/** The registry's own account of the tree has to equal the agent's. */
function prove(backup: BackupInfo, seal: Seal, totals: PieceTotals, baseDigest: Buffer): void {
  const shards = Math.max(seal.batches.length, totals.batches.length);
  const same = Array.from(
    { length: shards },
    (_, i) => (seal.batches[i] ?? 0) === (totals.batches[i] ?? 0),
  ).every(Boolean);
  if (!same || !totals.batchDigest.equals(seal.batchDigest))
    throw new TmError('TM1504', 'batches differ from the seal');
  const digest = DigestSum.from(baseDigest).add(totals.added).subtract(totals.removed).bytes();
  if (!digest.equals(seal.stateDigest)) throw new TmError('TM1503', `backup ${backup.label}`);
}

function countsOf(seal: Seal, totals: PieceTotals): BackupCounts {
  const { added, changed, metadata, deleted } = totals.counts;
  const { files, directories, others } = seal.totals;
  const unchanged = files + directories + others - added - changed - metadata;
  return { ...seal.totals, added, changed, metadata, deleted, unchanged };
}

/** How a backup that is past `sealed` ended; `error` is what failed it, where that is known. */
function outcomeOf(backup: BackupInfo, error: TmError | undefined): CommitOutcome {
  const { state, failure, label } = backup;
  if (state === 'committed' || state === 'expired') return { state: 'committed', backup };
  if (error) return { state: 'failed', error };
  const code = failure !== undefined && failure in ERRORS ? (failure as ErrorCode) : 'TM1507';
  return { state: 'failed', error: new TmError(code, `backup ${label}`) };
}
