import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Seal } from '../../contracts/messages.ts';
import type { BackupInfo, Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import { freeLabel, makeLabel } from '../../model/label.ts';
import type {
  BackupsTable,
  CommitRequest,
  JournalHead,
  JournalPlace,
  OpenedBackup,
  OpenRequest,
  ProblemRow,
  RunRef,
  SourceRow,
} from '../port.ts';
import {
  ACTIVE,
  addEvents,
  backupOf,
  lockOpen,
  placeOf,
  sealFromJson,
  sealToJson,
  setHead,
  sourceOf,
} from './backup-rows.ts';
import type { Database } from './database.ts';
import { expireBackups } from './expiry.ts';
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

  async ensureSource(source: {
    uid: string;
    agent: string;
    root: Buffer;
    key: Buffer;
    domain: string;
  }): Promise<SourceRow> {
    const { uid, agent, root, key, domain } = source;
    await this.#db.query(
      `insert into sources (uid, agent, root, key, domain, generation)
       values ($1, $2, $3, $4, $5, coalesce((select (value->>'ownerGeneration')::int from meta where key = 'store'), 1))
       on conflict do nothing`,
      [uid, agent, root, key, domain],
    );
    const { rows } = await this.#db.query('select * from sources where agent = $1 and root = $2', [
      agent,
      root,
    ]);
    return sourceOf(rows[0]);
  }

  async sources(): Promise<SourceRow[]> {
    return (await this.#db.query('select * from sources order by id')).rows.map(sourceOf);
  }

  async open({ sourceId, kind, tags }: OpenRequest, now: Date): Promise<OpenedBackup> {
    await this.#slots.take(sourceId);
    try {
      await this.#endAbandoned(sourceId, now);
      return await this.#db.transaction(async (client) => {
        const { rows } = await client.query(
          'update sources set next_seq = next_seq + 1, counter = counter + 1 where id = $1 returning *, next_seq - 1 as seq',
          [sourceId],
        );
        const [source, seq] = [sourceOf(rows[0]), rows[0].seq as number];
        if (kind === 'differential' && source.baseline === 0)
          throw new TmError('TM1303', 'a differential without a baseline');
        const baselineSeq = kind === 'full' ? seq : source.baseline;
        const label = await this.#label(client, sourceId, kind, now, baselineSeq);
        const { rows: made } = await client.query(
          `insert into backups (id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state, opened_at, tags)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11) returning *`,
          [
            randomUUID(),
            sourceId,
            seq,
            source.epoch.generation,
            source.epoch.counter,
            kind,
            label,
            baselineSeq,
            source.head,
            now,
            tags,
          ],
        );
        const base = await client.query('select state_digest from backups where source = $1 and seq = $2', [
          sourceId,
          source.head,
        ]);
        return {
          backup: backupOf(made[0]),
          source,
          baseDigest: base.rows[0]?.state_digest ?? Buffer.alloc(32),
        };
      });
    } catch (error) {
      await this.#slots.free(sourceId);
      throw error;
    }
  }

  /** With the slot in hand: what its last holder left open failed; what it was committing has to be settled first. */
  async #endAbandoned(sourceId: number, now: Date): Promise<void> {
    const { rows } = await this.#db.query(`select * from backups where source = $1 and state in ${ACTIVE}`, [
      sourceId,
    ]);
    for (const row of rows) {
      if (row.state === 'committing') throw new TmError('TM1504', `backup ${row.label} is being committed`);
      await this.#end(
        row.id,
        'TM1502',
        [{ type: 'backup.failed', data: { backupId: row.id, label: row.label, code: 'TM1502' } }],
        now,
      );
    }
  }

  async #label(
    client: PoolClient,
    sourceId: number,
    kind: OpenRequest['kind'],
    now: Date,
    baselineSeq: number,
  ): Promise<string> {
    const { rows } = await client.query('select label, seq from backups where source = $1', [sourceId]);
    const baseline = rows.find((row) => row.seq === baselineSeq)?.label as string | undefined;
    const taken = new Set(rows.map((row) => row.label));
    return freeLabel(makeLabel(kind, now, baseline), (label) => taken.has(label));
  }

  async seal(backupId: string, epoch: Epoch, seal: Seal): Promise<void> {
    await this.#db.transaction(async (client) => {
      await lockOpen(client, backupId, epoch, 'for update');
      await client.query(`update backups set state = 'sealed', seal = $2 where id = $1 and state = 'open'`, [
        backupId,
        sealToJson(seal),
      ]);
    });
  }

  async sealOf(backupId: string): Promise<Seal | undefined> {
    const { rows } = await this.#db.query('select seal from backups where id = $1', [backupId]);
    return rows[0]?.seal ? sealFromJson(rows[0].seal) : undefined;
  }

  async committing(backupId: string, epoch: Epoch, journal: JournalPlace): Promise<void> {
    await this.#db.transaction(async (client) => {
      const row = await lockOpen(client, backupId, epoch, 'for update');
      if (row.state === 'open') throw new TmError('TM1504', 'it is not sealed');
      await client.query(
        `update backups set state = 'committing', journal_writer = $2, journal_number = $3 where id = $1`,
        [backupId, journal.writer, journal.number],
      );
    });
  }

  async commit(request: CommitRequest): Promise<void> {
    const source = await this.#db.transaction(async (client) => {
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
        `update backups set state = 'committed', committed_at = $2, read_from = $3, read_to = $4, state_digest = $5, counts = $6, runs = $7 where id = $1`,
        [
          request.backupId,
          request.committedAt,
          request.readFrom,
          request.readTo,
          request.stateDigest,
          request.counts,
          JSON.stringify(request.runs),
        ],
      );
      await client.query('delete from pieces where backup = $1', [request.backupId]);
      await addEvents(client, row.source, request.events, request.committedAt);
      if (request.journal) await setHead(client, request.journal);
      return row.source as number;
    });
    await this.#slots.free(source);
  }

  async fail(backupId: string, code: string, events: CommitRequest['events']): Promise<void> {
    await this.#end(backupId, code, events, await this.#db.now());
  }

  async #end(backupId: string, code: string, events: CommitRequest['events'], now: Date): Promise<void> {
    const source = await this.#db.transaction(async (client) => {
      const { rows } = await client.query('select * from backups where id = $1 for update', [backupId]);
      const row = rows[0];
      if (!row || !['open', 'sealed', 'committing'].includes(row.state))
        return row?.source as number | undefined;
      await client.query(`update backups set state = 'failed', failure = $2 where id = $1`, [backupId, code]);
      await client.query('delete from entries where source = $1 and seq = $2', [row.source, row.seq]);
      await client.query('delete from problems where source = $1 and seq = $2', [row.source, row.seq]);
      await client.query('delete from pieces where backup = $1', [backupId]);
      await addEvents(client, row.source, events, now);
      return row.source as number;
    });
    if (source !== undefined) await this.#slots.free(source);
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
      `select * from backups where state in ${ACTIVE} order by opened_at`,
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

  async active(): Promise<BackupInfo[]> {
    const { rows } = await this.#db.query(`select * from backups where state in ${ACTIVE} order by source`);
    return rows.map(backupOf);
  }

  async get(backupId: string): Promise<BackupInfo | undefined> {
    const { rows } = await this.#db.query('select * from backups where id = $1', [backupId]);
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
    const { uid, agent, root, key, domain, epoch, head, baseline, rootHint } = source;
    const { rows } = await this.#db.query(
      `insert into sources (uid, agent, root, key, domain, generation, counter, next_seq, head, baseline, next_event, root_hint)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
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
      ],
    );
    return sourceOf(rows[0]);
  }

  async restoreBackup(backup: BackupInfo, runs: readonly RunRef[]): Promise<void> {
    const b = backup;
    await this.#db.query(
      `insert into backups (id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state, opened_at, committed_at, read_from, read_to,
         state_digest, counts, tags, pinned, runs, failure)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
       on conflict (id) do update set state = excluded.state, committed_at = excluded.committed_at,
         read_from = excluded.read_from, read_to = excluded.read_to, state_digest = excluded.state_digest,
         counts = excluded.counts, tags = excluded.tags, pinned = excluded.pinned, runs = excluded.runs,
         failure = excluded.failure`,
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
      ],
    );
  }
}
