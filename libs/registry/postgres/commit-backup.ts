import type { PoolClient } from 'pg';
import type { BackupInfo } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type { CommitRequest } from '../port.ts';
import { BACKUP_COLUMNS, backupOf, PENDING_CHANNEL, type Row } from './backup-rows.ts';

/** Head, baseline, backup, events and the journal's head; `moved` is 0 where the compare-and-set refused: roll back then. */
const COMMIT = `
  with moved as (
    update sources set head = $3, baseline = case when $4 then $3 else baseline end, root_hint = $5,
      next_event = next_event + cardinality($17::text[])
    where id = $2 and head = $6 and generation = $7 and counter = $8
    returning next_event - cardinality($17::text[]) as event),
  ended as (
    update backups set state = 'committed', committed_at = $9, read_from = $10, read_to = $11, state_digest = $12,
      counts = $13, runs = $14, gaps = $15, mac_key = null
    where id = $1 returning ${BACKUP_COLUMNS}),
  proved as (delete from pieces where backup = $1),
  told as (
    insert into outbox (source, event_no, type, time, data)
    select $2, event + at - 1, type, $9, data
    from moved, unnest($17::text[], $18::jsonb[]) with ordinality as one(type, data, at) returning 1),
  taken_in as (
    insert into journal_heads (writer, number, chain)
    select ($16::jsonb)->>'writer', (($16::jsonb)->>'number')::bigint, decode(($16::jsonb)->>'chain', 'hex')
    where $16::jsonb is not null
    on conflict (writer) do update set number = excluded.number, chain = excluded.chain
    where journal_heads.number < excluded.number)
  select *, (select count(*) from moved) as moved, (select count(pg_notify('${PENDING_CHANNEL}', '')) from told) as told
  from ended`;

/** Makes a backup visible in the client's transaction, which has its row locked. TM1502: another one was committed. */
export async function commitIn(client: PoolClient, row: Row, request: CommitRequest): Promise<BackupInfo> {
  const { epoch, journal, events } = request;
  const { rows } = await client.query({
    name: 'commit',
    text: COMMIT,
    values: [
      request.backupId,
      row.source,
      row.seq,
      row.kind === 'full',
      request.rootHint ?? null,
      row.base_seq,
      epoch.generation,
      epoch.counter,
      request.committedAt,
      request.readFrom,
      request.readTo,
      request.stateDigest,
      request.counts,
      JSON.stringify(request.runs),
      request.gaps ?? null,
      journal ? { ...journal, chain: journal.chain.toString('hex') } : null,
      events.map(({ type }) => type),
      events.map(({ data }) => JSON.stringify(data)),
    ],
  });
  if (rows[0].moved !== 1) throw new TmError('TM1502', request.backupId);
  return backupOf(rows[0]);
}
