import type { Seal } from '../../contracts/messages.ts';
import type { BackupInfo, BackupState, Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type {
  Admission,
  BackupsTable,
  CommitRequest,
  JournalHead,
  JournalPlace,
  NewestBackup,
  OpenedBackup,
  OpenRequest,
  OverdueBackup,
  ProblemRow,
  RunRef,
  SourceRow,
} from '../port.ts';
import {
  ACTIVE,
  addEvents,
  BACKUP_COLUMNS,
  backupOf,
  lockOpen,
  placeOf,
  type Row,
  sealFromJson,
  sealToJson,
  setHead,
  sourceOf,
} from './backup-rows.ts';
import type { Database } from './database.ts';
import { endIn } from './end-backup.ts';
import { expireBackups } from './expiry.ts';
import { admissionsOf, HELD_BY_LEASE, overdueBackups, renewLease } from './leases.ts';
import { newestBackups } from './newest-backups.ts';
import { openIn } from './open-backup.ts';
import type { SlotLocks } from './slot-locks.ts';

/** Numbers that a source's events may take under one owner generation. */
const EVENTS_A_GENERATION = 2 ** 32;
const DECISION_CLASS = 0x746d0005;

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

  async open(request: OpenRequest, now: Date): Promise<OpenedBackup> {
    const { sourceId, lease } = request;
    if (lease)
      return this.#db.transaction(async (client) => {
        await this.#slots.takeIn(client, sourceId);
        return openIn(client, request, now);
      });
    await this.#slots.take(sourceId);
    try {
      return await this.#db.transaction((client) => openIn(client, request, now));
    } catch (error) {
      await this.#slots.free(sourceId);
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
    await this.#db.transaction(async (client) => {
      await lockOpen(client, backupId, epoch, 'for update');
      await client.query(
        `update backups set state = 'sealed', seal = $2, sealed_at = clock_timestamp()
         where id = $1 and state = 'open'`,
        [backupId, sealToJson(seal)],
      );
    });
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
  ): Promise<{ readonly ours: boolean }> {
    return this.#db.transaction(async (client) => {
      const row = await lockOpen(client, backupId, epoch, 'for update');
      if (row.state === 'open') throw new TmError('TM1504', 'it is not sealed');
      if (row.state === 'committing') return { ours: false };
      const { rowCount } = await client.query(
        `update backups set state = 'committing', journal_writer = $2, journal_number = $3
         where id = $1 and ($4::int is null or $4 = (select count(*) from pieces where backup = $1))`,
        [backupId, journal.writer, journal.number, pieces ?? null],
      );
      if (rowCount !== 1) throw new TmError('TM1504', 'a piece came after the last one');
      return { ours: true };
    });
  }

  async commit(request: CommitRequest): Promise<void> {
    const ended = await this.#db.transaction(async (client) => {
      const row = await lockOpen(client, request.backupId, request.epoch, 'for update');
      const { rowCount } = await client.query(
        `update sources set head = $2, baseline = case when $3 then $2 else baseline end, root_hint = $4
         where id = $1 and head = $5 and generation = $6 and counter = $7`,
        [
          row.source,
          row.seq,
          row.kind === 'full',
          request.rootHint ?? null,
          row.base_seq,
          request.epoch.generation,
          request.epoch.counter,
        ],
      );
      if (rowCount !== 1) throw new TmError('TM1502', request.backupId);
      await client.query(
        `update backups set state = 'committed', committed_at = $2, read_from = $3, read_to = $4, state_digest = $5, counts = $6, runs = $7, gaps = $8, mac_key = null where id = $1`,
        [
          request.backupId,
          request.committedAt,
          request.readFrom,
          request.readTo,
          request.stateDigest,
          request.counts,
          JSON.stringify(request.runs),
          request.gaps ?? null,
        ],
      );
      await client.query('delete from pieces where backup = $1', [request.backupId]);
      await addEvents(client, row.source, request.events, request.committedAt);
      if (request.journal) await setHead(client, request.journal);
      return row;
    });
    await this.#freeSlotOf(ended);
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
