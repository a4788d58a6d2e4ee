import type { PoolClient } from 'pg';
import type { CommitRequest } from '../port.ts';
import { ACTIVE, addEvents, type Row } from './backup-rows.ts';

export const failedEvent = (
  { id, label }: { readonly id: string; readonly label: string },
  code: string,
): CommitRequest['events'][number] => ({ type: 'backup.failed', data: { backupId: id, label, code } });

/**
 * Ends a backup of one of these states, a list in SQL, as failed: what was written for it goes. Gives its row as it was;
 * undefined where there is none of them.
 */
export async function endIn(
  client: PoolClient,
  backupId: string,
  code: string,
  events: CommitRequest['events'],
  now: Date,
  states = ACTIVE,
): Promise<Row | undefined> {
  const { rows } = await client.query(
    `select * from backups where id = $1 and state in ${states} for update`,
    [backupId],
  );
  const row = rows[0];
  if (!row) return undefined;
  await client.query(`update backups set state = 'failed', failure = $2, mac_key = null where id = $1`, [
    backupId,
    code,
  ]);
  await client.query('delete from entries where source = $1 and seq = $2', [row.source, row.seq]);
  await client.query('delete from problems where source = $1 and seq = $2', [row.source, row.seq]);
  await client.query('delete from pieces where backup = $1', [backupId]);
  await addEvents(client, row.source, events, now);
  return row;
}
