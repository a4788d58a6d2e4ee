import type { CommitRequest, JournalHead } from '../port.ts';
import { ACTIVE, addEvents, setHead } from './backup-rows.ts';
import type { Database } from './database.ts';

/** Rows that one statement looks through; all versions of a path are looked at together. */
const ROWS_A_PAGE = 5000;

/**
 * Of the backups asked for, those that nothing needs: not pinned, not head or baseline of their source, not base or
 * baseline of a backup under way, and not the baseline of a differential that stays.
 */
const NOT_NEEDED = `
  with unneeded as (
    select b.id, b.source, b.seq from backups b join sources s on s.id = b.source
    where b.id = any($1::uuid[]) and b.state = 'committed' and not b.pinned and b.seq not in (s.head, s.baseline)
      and not exists (select 1 from backups o
        where o.source = b.source and o.state in ${ACTIVE} and b.seq in (o.base_seq, o.baseline_seq))
  )
  select id from unneeded u
  where not exists (select 1 from backups d
    where d.source = u.source and d.baseline_seq = u.seq and d.seq <> u.seq and d.state = 'committed'
      and d.id not in (select id from unneeded))`;

/** committed → expired. What is needed stays, whatever was asked for: the last guard before entries are dropped. */
export async function expireBackups(
  db: Database,
  backupIds: readonly string[],
  journal: JournalHead | undefined,
  events: CommitRequest['events'],
  now: Date,
): Promise<void> {
  await db.transaction(async (client) => {
    await client.query(
      `select id from sources where id in (select source from backups where id = any($1::uuid[])) order by id for update`,
      [backupIds],
    );
    const { rows } = await client.query(
      `update backups set state = 'expired' where id in (${NOT_NEEDED}) returning id, source`,
      [backupIds],
    );
    for (const row of rows) {
      const own = events.filter((event) => event.data.backupId === row.id);
      await addEvents(client, row.source, own, now);
    }
    if (journal) await setHead(client, journal);
  });
}

/** What has to stay visible of a source. */
interface Kept {
  /** Committed seqs, and head and baseline in any state, which backups under way start from; ascending. */
  readonly seqs: readonly number[];
  readonly head: number;
  /** Up to this seq the head's first run is complete in itself: no later run needs a tombstone from before it. */
  readonly wholeUntil: number;
}

async function keptOf(db: Database, sourceId: number): Promise<Kept | undefined> {
  const { rows } = await db.query(
    `select s.head, coalesce((select (h.runs -> 0 ->> 'toSeq')::bigint from backups h
         where h.source = s.id and h.seq = s.head and h.runs -> 0 ->> 'fromSeq' = '0'), 0) as whole_until,
       to_json(array(select seq from (
         select seq from backups where source = s.id and state = 'committed'
         union select s.head union select s.baseline) k
         where seq between 1 and s.head order by seq)) as seqs
     from sources s where s.id = $1`,
    [sourceId],
  );
  const row = rows[0];
  if (!row || row.head === 0) return undefined;
  return { seqs: row.seqs, head: row.head, wholeUntil: row.whole_until };
}

/** Last (dir, name) of a page that begins after the given one; undefined when the rest is less than a page. */
async function pageEnd(
  db: Database,
  sourceId: number,
  after: readonly [Buffer, Buffer],
  rows: number,
): Promise<[Buffer, Buffer] | undefined> {
  const { rows: last } = await db.query(
    `select dir, name from entries where source = $1 and (dir, name) > ($2::bytea, $3::bytea)
     order by dir, name, seq offset $4 limit 1`,
    [sourceId, ...after, rows - 1],
  );
  return last[0] && [last[0].dir, last[0].name];
}

/**
 * A version is seen by the kept seqs from its own up to the path's next version. A tombstone also goes when no
 * present version is left before it, and no run can bring one back.
 */
const DROP_PAGE = `
  with versions as (
    select dir, name, seq, op,
      coalesce(($2::bigint[])[width_bucket(seq - 1, $2::bigint[]) + 1]
        < coalesce(lead(seq) over path, $3::bigint + 1), false) as seen
    from entries
    where source = $1 and seq <= $3 and (dir, name) > ($5::bytea, $6::bytea)
      and ($7::bytea is null or (dir, name) <= ($7::bytea, $8::bytea))
    window path as (partition by dir, name order by seq)
  ), judged as (
    select dir, name, seq, seen and (op = 1 or seq > $4
      or coalesce(bool_or(seen and op = 1) over (partition by dir, name order by seq
           rows between unbounded preceding and 1 preceding), false)) as stays
    from versions
  )
  delete from entries e using judged j
  where e.source = $1 and e.dir = j.dir and e.name = j.name and e.seq = j.seq and not j.stays`;

/**
 * Deletes versions that no kept backup sees, page by page, each a transaction of its own. Needs no slot: only versions
 * up to the head are judged, and what the head sees stays, so a backup that is opened or committed meanwhile loses nothing.
 */
export async function dropUnseen(db: Database, sourceId: number, rowsAPage = ROWS_A_PAGE): Promise<number> {
  const kept = await keptOf(db, sourceId);
  if (!kept) return 0;
  let dropped = 0;
  let after: readonly [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];
  for (;;) {
    const end = await pageEnd(db, sourceId, after, rowsAPage);
    const { rowCount } = await db.query(DROP_PAGE, [
      sourceId,
      kept.seqs,
      kept.head,
      kept.wholeUntil,
      ...after,
      ...(end ?? [null, null]),
    ]);
    dropped += rowCount ?? 0;
    if (!end) break;
    after = end;
  }
  await db.query('delete from problems where source = $1 and seq <= $2 and seq <> all($3::bigint[])', [
    sourceId,
    kept.head,
    kept.seqs,
  ]);
  return dropped;
}
