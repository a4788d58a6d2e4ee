import type { Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type { Admission, OverdueBackup } from '../port.ts';
import { ACTIVE, backupOf } from './backup-rows.ts';
import type { Database } from './database.ts';

/** Of a row of `backups`: its lease keeps the slot from everybody else. One that is committing is guarded by the journal's lock. */
export const HELD_BY_LEASE = `(lease_until is not null
  and (state = 'sealed' or state = 'open' and lease_until > clock_timestamp()))`;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function renewLease(
  db: Database,
  backupId: string,
  { generation, counter }: Epoch,
  seconds: number,
): Promise<void> {
  const { rowCount } = await db.query(
    `update backups set lease_until = clock_timestamp() + make_interval(secs => $4)
     where id = $1 and generation = $2 and counter = $3 and lease_until is not null and state in ${ACTIVE}`,
    [backupId, generation, counter, seconds],
  );
  if (rowCount !== 1) throw new TmError('TM1502', `backup ${backupId}`);
}

export async function admissionsOf(
  db: Database,
  backupIds: readonly string[],
): Promise<Map<string, Admission>> {
  const ids = backupIds.filter((id) => UUID.test(id));
  const { rows } = await db.prepared(
    'admissions',
    `select id, source as "sourceId", state, generation, counter, mac_key as "macKey",
       lease_instance as instance, shards from backups where id = any($1::uuid[])`,
    [ids],
  );
  return new Map(
    rows.map(({ id, sourceId, state, generation, counter, macKey, instance, shards }) => [
      id,
      {
        sourceId,
        state,
        epoch: { generation, counter },
        macKey: macKey ?? undefined,
        instance: instance ?? undefined,
        shards: shards ?? undefined,
      },
    ]),
  );
}

export async function overdueBackups(db: Database, stallSeconds: number): Promise<OverdueBackup[]> {
  const { rows } = await db.query(
    `select * from backups b where lease_until is not null and
       case state
         when 'open' then lease_until <= clock_timestamp()
         when 'sealed' then
           greatest(sealed_at, (select max(applied_at) from pieces where backup = b.id))
             <= clock_timestamp() - make_interval(secs => $1)
       end
     order by opened_at`,
    [stallSeconds],
  );
  return rows.map((row) => ({ backup: backupOf(row), code: row.state === 'open' ? 'TM1512' : 'TM1513' }));
}
