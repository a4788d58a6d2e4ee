import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { TmError } from '../../model/errors.ts';
import { labelsFrom, makeLabel } from '../../model/label.ts';
import type { OpenedBackup, OpenRequest } from '../port.ts';
import { ACTIVE, backupOf, type Row, sourceOf } from './backup-rows.ts';
import { endIn, failedEvent } from './end-backup.ts';
import { HELD_BY_LEASE } from './leases.ts';

/** Of one second and kind, that are looked up together. */
const LABELS_AT_ONCE = 8;

/** The source's next seq and epoch, with what a backup needs to know of its base; no row while one has not ended. */
const NEXT = `update sources s set next_seq = next_seq + 1, counter = counter + 1
  where id = $1 and not exists (select 1 from backups where source = $1 and state in ${ACTIVE})
  returning *, next_seq - 1 as seq, clock_timestamp() as now,
    (select label from backups b where b.source = s.id and b.seq = s.baseline) as baseline_label,
    (select state_digest from backups b where b.source = s.id and b.seq = s.head) as base_digest`;

/** Opens a backup in the client's transaction, which has the source's slot lock to itself. `now`: default the clock here. */
export async function openIn(client: PoolClient, request: OpenRequest, now?: Date): Promise<OpenedBackup> {
  const { sourceId, kind } = request;
  const next =
    (await client.query(NEXT, [sourceId])).rows[0] ?? (await nextAfterAbandoned(client, sourceId, now));
  const source = sourceOf(next);
  if (kind === 'differential' && source.baseline === 0)
    throw new TmError('TM1303', 'a differential without a baseline');
  const made = await insertBackup(client, request, next, now ?? next.now);
  return { backup: backupOf(made), source, baseDigest: next.base_digest ?? Buffer.alloc(32) };
}

async function nextAfterAbandoned(client: PoolClient, sourceId: number, now: Date | undefined): Promise<Row> {
  const { rows } = await client.query('select clock_timestamp() as now');
  await endAbandoned(client, sourceId, now ?? rows[0].now);
  return (await client.query(NEXT, [sourceId])).rows[0];
}

/** Under the first label that is free: mostly that of the second. */
async function insertBackup(
  client: PoolClient,
  { sourceId, kind, tags, lease }: OpenRequest,
  { seq, generation, counter, head, baseline, baseline_label }: Row,
  now: Date,
): Promise<Row> {
  const label = makeLabel(kind, now, kind === 'full' ? undefined : baseline_label);
  for (let free = label; ; free = await freeLabel(client, sourceId, label)) {
    const { rows } = await client.query(
      `insert into backups (id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state, opened_at, tags,
         lease_until, lease_instance, mac_key, shards)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11,
         clock_timestamp() + make_interval(secs => $12), $13, $14, $15) on conflict (source, label) do nothing returning *`,
      [
        randomUUID(),
        sourceId,
        seq,
        generation,
        counter,
        kind,
        free,
        kind === 'full' ? seq : baseline,
        head,
        now,
        tags,
        lease?.seconds ?? null,
        lease?.instance ?? null,
        lease?.macKey ?? null,
        lease?.shards ?? null,
      ],
    );
    if (rows[0]) return rows[0];
  }
}

/**
 * What the slot's last holder left open failed; what it was committing has to be settled first. A lease that lasts, or
 * that its backup needs no more, holds the slot.
 */
async function endAbandoned(client: PoolClient, sourceId: number, now: Date): Promise<void> {
  const { rows } = await client.query(
    `select *, ${HELD_BY_LEASE} as held from backups where source = $1 and state in ${ACTIVE} for update`,
    [sourceId],
  );
  for (const row of rows) {
    const leased = row.lease_until !== null;
    if (row.held || (leased && row.state === 'committing'))
      throw new TmError('TM1501', `backup ${row.label} is under way`);
    if (row.state === 'committing') throw new TmError('TM1504', `backup ${row.label} is being committed`);
    const code = leased ? 'TM1512' : 'TM1502';
    await endIn(client, row.id, code, [failedEvent(row, code)], now);
  }
}

/** Of a source that is watched there are many thousands: only those that matter are asked for. */
async function freeLabel(client: PoolClient, sourceId: number, label: string): Promise<string> {
  for (let from = 1; ; from += LABELS_AT_ONCE) {
    const candidates = labelsFrom(label, from, LABELS_AT_ONCE);
    const found = await client.query('select label from backups where source = $1 and label = any($2)', [
      sourceId,
      candidates,
    ]);
    const taken = new Set(found.rows.map((row) => row.label));
    const free = candidates.find((candidate) => !taken.has(candidate));
    if (free !== undefined) return free;
  }
}
