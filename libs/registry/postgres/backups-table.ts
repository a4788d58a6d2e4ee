import type { Seal } from '../../contracts/messages.ts';
import type { BackupInfo, BackupState, Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type {
  Admission,
  BackupsTable,
  CommitRequest,
  Committing,
  JournalHead,
  JournalPlace,
  NewestBackup,
  OpenedBackup,
  OpenRequest,
  OverdueBackup,
  ProblemRow,
  RunRef,
  SourceHead,
  SourceName,
  SourceRow,
} from '../port.ts';
import {
  ACTIVE,
  BACKUP_COLUMNS,
  backupOf,
  checkOpen,
  lockBackup,
  placeOf,
  type Row,
  SEAL,
  sealFromJson,
  sealToJson,
  setHead,
  sourceOf,
  sourceWhere,
} from './backup-rows.ts';
import { commitIn } from './commit-backup.ts';
import type { Database } from './database.ts';
import { endIn } from './end-backup.ts';
import { expireBackups } from './expiry.ts';
import { admissionsOf, HELD_BY_LEASE, overdueBackups, renewLease } from './leases.ts';
import { newestBackups } from './newest-backups.ts';
import { openIn } from './open-backup.ts';
import type { SlotLocks } from './slot-locks.ts';
import { SHARE_STORE } from './store-lock.ts';

/** Numbers that a source's events may take under one owner generation. */
const EVENTS_A_GENERATION = 2 ** 32;
const DECISION_CLASS = 0x746d0005;

/** Sources with their newest backups. */
const HEADS = `select s.id as source_id, s.generation as source_generation, s.counter as source_counter,
    s.uid, s.agent, s.agent_uid, s.root, s.key, s.domain, s.head, s.baseline, s.root_hint,
    exists (select 1 from blocks where domain = s.domain and damaged) as has_damage, b.*
  from sources s left join (select ${BACKUP_COLUMNS} from backups) b on b.source = s.id and b.seq = s.head`;

export class PostgresBackups implements BackupsTable {
  readonly #db: Database;
  readonly #slots: SlotLocks;

  constructor(db: Database, slots: SlotLocks) {
    this.#db = db;
    this.#slots = slots;
  }

  async ensureSource(source: Parameters<BackupsTable['ensureSource']>[0]): Promise<SourceRow> {
    const { uid, agent, agentUid = null, root, key, domain } = source;
    await this.#db.query(
      `insert into sources (uid, agent, agent_uid, root, key, domain, generation)
       values ($1, $2, $3, $4, $5, $6, coalesce((select (value->>'ownerGeneration')::int from meta where key = 'store'), 1))
       on conflict do nothing`,
      [uid, agent, agentUid, root, key, domain],
    );
    const { rows } = await this.#db.query(
      `select * from sources where root = $3 and
         case when $2::uuid is null then agent_uid is null and agent = $1 else agent_uid = $2 end`,
      [agent, agentUid, root],
    );
    return sourceOf(rows[0]);
  }

  async sources(): Promise<SourceRow[]> {
    return (await this.#db.query('select * from sources order by id')).rows.map(sourceOf);
  }

  async headOf(name: SourceName): Promise<SourceHead | undefined> {
    const { where, values } = sourceWhere(name);
    const { rows } = await this.#db.query(`${HEADS} where ${where}`, values);
    const [row] = rows;
    if (!row) return undefined;
    const { source_id: id, source_generation: generation, source_counter: counter } = row;
    return {
      source: sourceOf({ ...row, id, generation, counter }),
      backup: row.id === null ? undefined : backupOf(row),
      hasDamage: row.has_damage,
    };
  }

  async open(request: OpenRequest, now?: Date): Promise<OpenedBackup> {
    const { sourceId, lease } = request;
    let isTaken = false;
    try {
      return await this.#db.lockingTransaction(async (client) => {
        if (lease) await this.#slots.takeIn(client, sourceId);
        else await this.#slots.take(sourceId);
        isTaken = !lease;
        return openIn(client, request, now);
      }, SHARE_STORE);
    } catch (error) {
      if (isTaken) await this.#slots.free(sourceId);
      throw error;
    }
  }

  renew(backupId: string, epoch: Epoch, seconds: number): Promise<void> {
    return renewLease(this.#db, backupId, epoch, seconds);
  }

  admissions(backupIds: readonly string[]): Promise<Map<string, Admission>> {
    return admissionsOf(this.#db, backupIds);
  }

  overdue(stallSeconds: number): Promise<OverdueBackup[]> {
    return overdueBackups(this.#db, stallSeconds);
  }

  async seal(backupId: string, epoch: Epoch, seal: Seal): Promise<void> {
    await this.#db.transaction(
      async (client, [row]) => {
        checkOpen(row, backupId, epoch);
        await client.query(SEAL, [backupId, sealToJson(seal)]);
      },
      lockBackup(backupId, 'for update'),
    );
  }

  async sealOf(backupId: string): Promise<Seal | undefined> {
    const { rows } = await this.#db.query('select seal from backups where id = $1', [backupId]);
    return rows[0]?.seal ? sealFromJson(rows[0].seal) : undefined;
  }

  async committing(
    backupId: string,
    epoch: Epoch,
    journal: JournalPlace,
    pieces?: number,
  ): Promise<Committing> {
    return this.#db.transaction(
      async (client, [row]) => {
        const { state } = checkOpen(row, backupId, epoch);
        if (state === 'open') throw new TmError('TM1504', 'it is not sealed');
        if (state === 'committing') return { ours: false };
        const { rows } = await client.query(
          `update backups set state = 'committing', journal_writer = $2, journal_number = $3
           where id = $1 and ($4::int is null or $4 = (select count(*) from pieces where backup = $1))
           returning clock_timestamp() as at`,
          [backupId, journal.writer, journal.number, pieces ?? null],
        );
        if (rows.length !== 1) throw new TmError('TM1504', 'a piece came after the last one');
        return { ours: true, at: rows[0].at };
      },
      lockBackup(backupId, 'for update'),
    );
  }

  async commit(request: CommitRequest): Promise<BackupInfo> {
    const { backupId, epoch } = request;
    const [row, committed] = await this.#db.transaction(
      async (client, [row]) => {
        checkOpen(row, backupId, epoch);
        return [row, await commitIn(client, row, request)] as const;
      },
      lockBackup(backupId, 'for update'),
    );
    await this.#freeSlotOf(row);
    return committed;
  }

  /** Of a backup that has ended: with a lease there is none to free. */
  async #freeSlotOf(row: Row): Promise<void> {
    if (row.lease_until === null) await this.#slots.free(row.source);
  }

  async fail(backupId: string, code: string, events: CommitRequest['events']): Promise<void> {
    await this.#end(backupId, code, events, ACTIVE);
  }

  async abort(
    backupId: string,
    code: string,
    events: CommitRequest['events'],
  ): Promise<BackupState | undefined> {
    await this.#end(backupId, code, events, `('open', 'sealed')`);
    return (await this.get(backupId))?.state;
  }

  async #end(backupId: string, code: string, events: CommitRequest['events'], states: string): Promise<void> {
    const now = await this.#db.now();
    const ended = await this.#db.transaction((client) => endIn(client, backupId, code, events, now, states));
    if (ended) await this.#freeSlotOf(ended);
  }

  async placeOf(backupId: string): Promise<JournalPlace | undefined> {
    const { rows } = await this.#db.query(
      'select journal_writer, journal_number from backups where id = $1',
      [backupId],
    );
    return placeOf(rows[0]);
  }

  async abandoned(): Promise<(BackupInfo & { journal: JournalPlace | undefined })[]> {
    const { rows } = await this.#db.query(
      `select * from backups where state in ${ACTIVE} and not ${HELD_BY_LEASE} order by opened_at`,
    );
    const gone: (BackupInfo & { journal: JournalPlace | undefined })[] = [];
    for (const row of rows) {
      if (await this.#slots.isHeld(row.source)) continue;
      gone.push({ ...backupOf(row), journal: placeOf(row) });
    }
    return gone;
  }

  async list({ sourceId, all }: { sourceId?: number; all?: boolean }): Promise<BackupInfo[]> {
    const { rows } = await this.#db.query(
      // By time, but within a source by seq, also where the clock was set back.
      `select * from (select *, max(opened_at) over (partition by source order by seq) as reached from backups
         where ($1::int is null or source = $1) and ($2 or state = 'committed')) as one
       order by reached, source, seq`,
      [sourceId ?? null, all === true],
    );
    return rows.map(backupOf);
  }

  newest(now: Date, sourceUids: readonly string[]): Promise<NewestBackup[]> {
    return newestBackups(this.#db, now, sourceUids);
  }

  async active(): Promise<BackupInfo[]> {
    const { rows } = await this.#db.query(`select * from backups where state in ${ACTIVE} order by source`);
    return rows.map(backupOf);
  }

  async get(backupId: string): Promise<BackupInfo | undefined> {
    const text = `select ${BACKUP_COLUMNS} from backups where id = $1`;
    const { rows } = await this.#db.prepared('backup', text, [backupId]);
    return rows[0] && backupOf(rows[0]);
  }

  async at(sourceId: number, seq: number): Promise<BackupInfo | undefined> {
    const { rows } = await this.#db.query('select * from backups where source = $1 and seq = $2', [
      sourceId,
      seq,
    ]);
    return rows[0] && backupOf(rows[0]);
  }

  async runsOf(sourceId: number, seq: number): Promise<RunRef[]> {
    const { rows } = await this.#db.query('select runs from backups where source = $1 and seq = $2', [
      sourceId,
      seq,
    ]);
    return rows[0]?.runs ?? [];
  }

  async baseOf(
    sourceId: number,
    seq: number,
  ): Promise<{ stateDigest: Buffer | undefined; runs: RunRef[] } | undefined> {
    const { rows } = await this.#db.query(
      'select state_digest, runs from backups where source = $1 and seq = $2',
      [sourceId, seq],
    );
    return rows[0] && { stateDigest: rows[0].state_digest ?? undefined, runs: rows[0].runs ?? [] };
  }

  async problems(sourceId: number, seq: number): Promise<ProblemRow[]> {
    const { rows } = await this.#db.query(
      'select dir_path as dir, name, code from problems where source = $1 and seq = $2 order by dir_path, name',
      [sourceId, seq],
    );
    return rows;
  }

  async withSlot<T>(sourceId: number, work: () => Promise<T>): Promise<T> {
    await this.#slots.take(sourceId);
    try {
      const { rows } = await this.#db.query(
        `select label from backups where source = $1 and state in ${ACTIVE} and ${HELD_BY_LEASE}`,
        [sourceId],
      );
      if (rows[0]) throw new TmError('TM1501', `backup ${rows[0].label} is under way`);
      return await work();
    } finally {
      await this.#slots.free(sourceId);
    }
  }

  async deciding<T>(sourceId: number, work: () => Promise<T>): Promise<T> {
    const values = [DECISION_CLASS, sourceId];
    const lock = { take: 'pg_advisory_lock($1, $2)', free: 'pg_advisory_unlock($1, $2)', values };
    return this.#db.locked(lock, work);
  }

  async setTags(
    backupId: string,
    tags: Readonly<Record<string, string>>,
    journal: JournalHead | undefined,
  ): Promise<void> {
    await this.#db.transaction(async (client) => {
      await client.query('update backups set tags = $2 where id = $1', [backupId, tags]);
      if (journal) await setHead(client, journal);
    });
  }

  async setPinned(backupId: string, pinned: boolean, journal: JournalHead | undefined): Promise<void> {
    await this.#db.transaction(async (client) => {
      await client.query('update backups set pinned = $2 where id = $1', [backupId, pinned]);
      if (journal) await setHead(client, journal);
    });
  }

  expire(
    backupIds: readonly string[],
    journal: JournalHead | undefined,
    events: CommitRequest['events'],
    now: Date,
  ): Promise<void> {
    return expireBackups(this.#db, backupIds, journal, events, now);
  }

  async restoreSource(source: SourceRow, nextSeq: number): Promise<SourceRow> {
    const { uid, agent, agentUid, root, key, domain, epoch, head, baseline, rootHint } = source;
    const { rows } = await this.#db.query(
      `insert into sources (uid, agent, root, key, domain, generation, counter, next_seq, head, baseline, next_event, root_hint, agent_uid)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
       on conflict (uid) do update set generation = $6, counter = $7, next_seq = greatest(sources.next_seq, $8),
         head = $9, baseline = $10, next_event = greatest(sources.next_event, $11), root_hint = $12 returning *`,
      [
        uid,
        agent,
        root,
        key,
        domain,
        epoch.generation,
        epoch.counter,
        nextSeq,
        head,
        baseline,
        (epoch.generation - 1) * EVENTS_A_GENERATION + 1,
        rootHint ?? null,
        agentUid ?? null,
      ],
    );
    return sourceOf(rows[0]);
  }

  async restoreBackup(backup: BackupInfo, runs: readonly RunRef[]): Promise<void> {
    const b = backup;
    await this.#db.query(
      `insert into backups (id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state, opened_at, committed_at, read_from, read_to,
         state_digest, counts, tags, pinned, runs, failure, gaps)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
       on conflict (id) do update set state = excluded.state, committed_at = excluded.committed_at,
         read_from = excluded.read_from, read_to = excluded.read_to, state_digest = excluded.state_digest,
         counts = excluded.counts, tags = excluded.tags, pinned = excluded.pinned, runs = excluded.runs,
         failure = excluded.failure, gaps = excluded.gaps`,
      [
        b.id,
        b.sourceId,
        b.seq,
        b.epoch.generation,
        b.epoch.counter,
        b.kind,
        b.label,
        b.baselineSeq,
        b.baseSeq,
        b.state,
        b.openedAt,
        b.committedAt,
        b.readFrom,
        b.readTo,
        b.stateDigest,
        b.counts,
        b.tags,
        b.pinned,
        JSON.stringify(runs),
        b.failure ?? null,
        b.gaps ?? null,
      ],
    );
  }
}
