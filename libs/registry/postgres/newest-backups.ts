import type { NewestBackup } from '../port.ts';
import type { Database } from './database.ts';

const COLUMNS = 'seq, kind, opened_at, committed_at';
const OF_SOURCE = `from backups where source = s.id and state in ('committed', 'expired')`;

const byTime = (kind: string, where: string, order: string): string =>
  `(select ${COLUMNS} ${OF_SOURCE} and kind = '${kind}' and opened_at ${where} $1 order by opened_at ${order} limit 1)`;

const SQL = `select s.uid as "sourceUid", b.seq, b.kind, b.opened_at as "openedAt", b.committed_at as "committedAt"
  from sources s cross join lateral (
    (select ${COLUMNS} ${OF_SOURCE} order by seq desc limit 1)
    union all ${byTime('full', '<=', 'desc')}
    union all ${byTime('full', '>', 'asc')}
    union all ${byTime('differential', '<=', 'desc')}
    union all ${byTime('differential', '>', 'asc')}
  ) b where s.uid = any($2::text[])`;

/** What a scheduler has to know of its sources' backups. */
export async function newestBackups(
  db: Database,
  now: Date,
  sourceUids: readonly string[],
): Promise<NewestBackup[]> {
  return (await db.query(SQL, [now, sourceUids])).rows;
}
