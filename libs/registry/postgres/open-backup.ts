import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { TmError } from '../../model/errors.ts';
import { labelsFrom, makeLabel } from '../../model/label.ts';
import type { OpenedBackup, OpenRequest } from '../port.ts';
import { ACTIVE, backupOf, sourceOf } from './backup-rows.ts';
import { endIn, failedEvent } from './end-backup.ts';
import { HELD_BY_LEASE } from './leases.ts';

/** Of one second and kind, that are looked up together. */
const LABELS_AT_ONCE = 8;

/** Opens a backup in the client's transaction, which has the source's slot lock to itself. */
export async function openIn(client: PoolClient, request: OpenRequest, now: Date): Promise<OpenedBackup> {
  const { sourceId, kind, tags, lease } = request;
  await endAbandoned(client, sourceId, now);
  const { rows } = await client.query(
    'update sources set next_seq = next_seq + 1, counter = counter + 1 where id = $1 returning *, next_seq - 1 as seq',
    [sourceId],
  );
  const [source, seq] = [sourceOf(rows[0]), rows[0].seq as number];
  if (kind === 'differential' && source.baseline === 0)
    throw new TmError('TM1303', 'a differential without a baseline');
  const baselineSeq = kind === 'full' ? seq : source.baseline;
  const label = await labelFor(client, request, now, baselineSeq);
  const { rows: made } = await client.query(
    `insert into backups (id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state, opened_at, tags,
       lease_until, lease_instance, mac_key, shards)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11,
       clock_timestamp() + make_interval(secs => $12), $13, $14, $15) returning *`,
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
      lease?.seconds ?? null,
      lease?.instance ?? null,
      lease?.macKey ?? null,
      lease?.shards ?? null,
    ],
  );
  const base = await client.query('select state_digest from backups where source = $1 and seq = $2', [
    sourceId,
    source.head,
  ]);
  const baseDigest = base.rows[0]?.state_digest ?? Buffer.alloc(32);
  return { backup: backupOf(made[0]), source, baseDigest };
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
async function labelFor(
  client: PoolClient,
  { sourceId, kind }: OpenRequest,
  now: Date,
  baselineSeq: number,
): Promise<string> {
  const { rows } = await client.query('select label from backups where source = $1 and seq = $2', [
    sourceId,
    baselineSeq,
  ]);
  const label = makeLabel(kind, now, rows[0]?.label);
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
