import { escapeLiteral, type PoolClient } from 'pg';
import type { Seal } from '../../contracts/messages.ts';
import type { BackupInfo, BackupState, Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type { CommitRequest, JournalPlace, SourceName, SourceRow } from '../port.ts';

// biome-ignore lint/suspicious/noExplicitAny: rows are what the query names
export type Row = any;

/** States of a backup that has not ended, as a list in SQL. */
export const ACTIVE = `('open', 'sealed', 'committing')`;

/** What `backupOf` reads, by name: a prepared statement outlives a migration that adds a column. */
export const BACKUP_COLUMNS = `id, source, seq, generation, counter, kind, label, baseline_seq, base_seq, state,
  opened_at, committed_at, read_from, read_to, state_digest, counts, tags, pinned, gaps, failure`;

export const backupOf = (row: Row): BackupInfo => ({
  id: row.id,
  sourceId: row.source,
  seq: row.seq,
  epoch: { generation: row.generation, counter: row.counter },
  kind: row.kind,
  label: row.label,
  baselineSeq: row.baseline_seq,
  baseSeq: row.base_seq,
  state: row.state,
  openedAt: row.opened_at,
  committedAt: row.committed_at ?? undefined,
  readFrom: row.read_from ?? undefined,
  readTo: row.read_to ?? undefined,
  stateDigest: row.state_digest ?? undefined,
  counts: row.counts ?? undefined,
  tags: row.tags,
  pinned: row.pinned,
  gaps: row.gaps ?? undefined,
  failure: row.failure ?? undefined,
});

export const placeOf = (row: Row): JournalPlace | undefined =>
  row?.journal_writer ? { writer: row.journal_writer, number: row.journal_number } : undefined;

export const sourceOf = (row: Row): SourceRow => ({
  id: row.id,
  uid: row.uid,
  agent: row.agent,
  agentUid: row.agent_uid ?? undefined,
  root: row.root,
  key: row.key,
  domain: row.domain,
  epoch: { generation: row.generation, counter: row.counter },
  head: row.head,
  baseline: row.baseline,
  rootHint: row.root_hint ?? undefined,
});

/** A condition on sources `s`. */
export function sourceWhere(name: SourceName): { where: string; values: unknown[] } {
  if ('id' in name) return { where: 's.id = $1', values: [name.id] };
  if ('uid' in name) return { where: 's.uid = $1', values: [name.uid] };
  const isRoot = 'sha256(s.root) = sha256($2) and s.root = $2';
  return 'agentUid' in name
    ? { where: `s.agent_uid = $1 and ${isRoot}`, values: [name.agentUid, name.root] }
    : { where: `s.agent_uid is null and s.agent = $1 and ${isRoot}`, values: [name.agent, name.root] };
}

export const sealToJson = ({ batchDigest, stateDigest, ...seal }: Seal): object => ({
  ...seal,
  batchDigest: batchDigest.toString('hex'),
  stateDigest: stateDigest.toString('hex'),
});

export const sealFromJson = (json: Row): Seal => ({
  ...json,
  batchDigest: Buffer.from(json.batchDigest, 'hex'),
  stateDigest: Buffer.from(json.stateDigest, 'hex'),
});

/** Locks the backup's row for the transaction that it begins; `checkOpen` takes what it gives. */
export const lockBackup = (backupId: string, mode: 'for share' | 'for update'): string =>
  `select source, seq, generation, counter, kind, base_seq, state, seal, lease_until
   from backups where id = ${escapeLiteral(backupId)} ${mode}`;

/** Of the row, locked: it may still be written to (promise 4). */
export function checkOpen(
  row: Row,
  backupId: string,
  epoch: Epoch,
  states: readonly BackupState[] = ['open', 'sealed', 'committing'],
): Row {
  if (!row || !states.includes(row.state)) throw new TmError('TM1507', backupId);
  if (row.generation !== epoch.generation || row.counter !== epoch.counter)
    throw new TmError('TM1502', backupId);
  return row;
}

/** $1: a backup that is locked for it, $2: sealToJson; one that is sealed keeps its seal. */
export const SEAL = `update backups set state = 'sealed', seal = $2, sealed_at = clock_timestamp()
  where id = $1 and state = 'open'`;

/** Where it is told, at the commit, that there are events. */
export const PENDING_CHANNEL = 'tidemark_outbox';

/** Events of one source into the outbox, numbered without a gap under the lock of the source's row. */
export async function addEvents(
  client: PoolClient,
  source: number,
  events: CommitRequest['events'],
  time: Date,
): Promise<void> {
  for (const { type, data } of events) {
    const { rows } = await client.query(
      'update sources set next_event = next_event + 1 where id = $1 returning next_event - 1 as no',
      [source],
    );
    await client.query(
      `with made as (insert into outbox (source, event_no, type, time, data) values ($1, $2, $3, $4, $5) returning 1)
       select pg_notify('${PENDING_CHANNEL}', '') from made`,
      [source, rows[0].no, type, time, data],
    );
  }
}

export async function setHead(
  client: PoolClient,
  head: { writer: string; number: number; chain: Buffer },
): Promise<void> {
  await client.query(
    `insert into journal_heads (writer, number, chain) values ($1, $2, $3)
     on conflict (writer) do update set number = excluded.number, chain = excluded.chain where journal_heads.number < excluded.number`,
    [head.writer, head.number, head.chain],
  );
}
