import { type BlockIntake, BlockKind } from '../blocks/intake.ts';
import type { Seal } from '../contracts/messages.ts';
import type { BackupCounts, BackupInfo } from '../model/backup.ts';
import { DigestSum } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import type { CommitRequest, PieceTotals, Registry, RunRef, SourceRow } from '../registry/port.ts';
import type { JournalWriter } from '../store/journal.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import { planRun } from './run-list.ts';
import { runRef, type SealBlock, type WrittenRun, writeRun } from './run-writer.ts';

export interface CommitterDeps {
  readonly registry: Registry;
  readonly intake: BlockIntake;
  readonly seal: SealBlock;
  /** The writer's journal, opened at the registry's head; called under the writer's lock. */
  readonly journal: () => Promise<JournalWriter>;
  readonly writer: string;
  readonly now: () => Date;
}

/**
 * Commits complete backups: proves the state digest, makes the run durable, then the journal object, then the one
 * Postgres transaction that makes the backup visible (1-architecture, promises 4, 5 and 8).
 */
export class Committer {
  readonly #deps: CommitterDeps;

  constructor(deps: CommitterDeps) {
    this.#deps = deps;
  }

  async commit(backup: BackupInfo, source: SourceRow, seal: Seal): Promise<void> {
    const { registry, writer, now } = this.#deps;
    const totals = await registry.entries.totals(backup.id);
    await this.#prove(backup, seal, totals);
    const { runs, run } = await this.#run(backup, source, totals);
    const baseDigest = await this.#baseDigest(backup);
    const counts = countsOf(seal, totals);
    await registry.journal.withStoreLock('shared', () =>
      registry.journal.withWriter(writer, async () => {
        const journal = await this.#deps.journal();
        const place = { writer, number: journal.next() };
        await registry.backups.committing(backup.id, backup.epoch, place);
        const allRuns = [...runs, runRef(run, place)];
        const committedAt = now();
        const sections = [...(run.inline ? [run.inline.bytes] : []), ...(await this.#sealTags(backup))];
        const record = this.#record(backup, source, seal, {
          counts,
          runs: allRuns,
          committedAt,
          baseDigest,
          lastSection: sections.length - 1,
        });
        const head = await journal.append([record], sections);
        await registry.backups.commit({
          backupId: backup.id,
          epoch: backup.epoch,
          stateDigest: seal.stateDigest,
          counts,
          readFrom: new Date(seal.readFrom),
          readTo: new Date(seal.readTo),
          runs: allRuns,
          journal: head,
          committedAt,
          rootHint: seal.rootHint,
          events: eventsOf(backup, counts),
        });
      }),
    );
  }

  /** The registry's own account of the tree has to equal the agent's. */
  async #prove(backup: BackupInfo, seal: Seal, totals: PieceTotals): Promise<void> {
    const same = seal.batches.every((count, shard) => totals.batches[shard] === count);
    if (!same || !totals.batchDigest.equals(seal.batchDigest))
      throw new TmError('TM1504', 'batches differ from the seal');
    const base = await this.#baseDigest(backup);
    const digest = DigestSum.from(base).add(totals.added).subtract(totals.removed).bytes();
    if (!digest.equals(seal.stateDigest)) throw new TmError('TM1503', `backup ${backup.label}`);
  }

  async #baseDigest({ sourceId, baseSeq }: BackupInfo): Promise<Buffer> {
    if (baseSeq === 0) return Buffer.alloc(32);
    const base = (await this.#deps.registry.backups.list({ sourceId, all: true })).find(
      (one) => one.seq === baseSeq,
    );
    if (!base?.stateDigest) throw new TmError('TM1303', `backup ${baseSeq} has no state digest`);
    return base.stateDigest;
  }

  async #run(
    backup: BackupInfo,
    source: SourceRow,
    totals: PieceTotals,
  ): Promise<{ runs: RunRef[]; run: WrittenRun }> {
    const { registry } = this.#deps;
    const base = backup.baseSeq === 0 ? [] : await registry.backups.runsOf(source.id, backup.baseSeq);
    const { added, changed, metadata, deleted } = totals.counts;
    const plan = planRun(base, added + changed + metadata + deleted);
    const deps = { ...this.#deps, domain: source.domain };
    const run = await writeRun(deps, source.id, plan.fromSeq, backup.seq);
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
    source: SourceRow,
    seal: Seal,
    made: {
      counts: BackupCounts;
      runs: readonly RunRef[];
      committedAt: Date;
      baseDigest: Buffer;
      lastSection: number;
    },
  ): JournalRecord {
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
      runs: [...made.runs],
    };
  }
}

function countsOf(seal: Seal, totals: PieceTotals): BackupCounts {
  const { added, changed, metadata, deleted } = totals.counts;
  const { files, directories, others } = seal.totals;
  const unchanged = files + directories + others - added - changed - metadata;
  return { ...seal.totals, added, changed, metadata, deleted, unchanged };
}

function eventsOf(backup: BackupInfo, counts: BackupCounts): CommitRequest['events'] {
  const data = {
    backupId: backup.id,
    seq: backup.seq,
    kind: backup.kind,
    label: backup.label,
    baselineSeq: backup.baselineSeq,
    added: counts.added,
    changed: counts.changed + counts.metadata,
    deleted: counts.deleted,
    problems: counts.problems,
  };
  const committed = { type: 'backup.committed', data };
  if (backup.kind === 'differential') return [committed];
  return [committed, { type: 'baseline.promoted', data: { backupId: backup.id, seq: backup.seq } }];
}
