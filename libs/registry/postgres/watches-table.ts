import type { PoolClient } from 'pg';
import type {
  CommitRequest,
  SilentWatch,
  WatchedGap,
  WatchesTable,
  WatchHistory,
  WatchReport,
  WatchRow,
  WatchTotals,
} from '../port.ts';
import { HISTORY_DAYS } from '../port-watches.ts';
import { addEvents, type Row } from './backup-rows.ts';
import type { Database } from './database.ts';

const gapOf = (row: Row): WatchedGap => ({
  gap: row.gap,
  reason: row.reason,
  openedAt: row.opened_at,
  endedAt: row.ended_at ?? undefined,
  closedAt: row.closed_at ?? undefined,
});

/** The row of the source's watch, locked: reports and events of one source come one after the other. */
async function lockWatch(client: PoolClient, sourceId: number): Promise<Row> {
  await client.query('insert into watches (source) values ($1) on conflict do nothing', [sourceId]);
  return (await client.query('select * from watches where source = $1 for update', [sourceId])).rows[0];
}

export class PostgresWatches implements WatchesTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async report(sourceId: number, report: WatchReport, now: Date): Promise<void> {
    const { kind, state, pending, oldestChange, run, gaps } = report;
    await this.#db.transaction(async (client) => {
      await lockWatch(client, sourceId);
      await client.query(
        'update watches set kind = $2, state = $3, pending = $4, oldest_change = $5, seen_at = $6 where source = $1',
        [sourceId, kind ?? null, state, pending, oldestChange ?? null, now],
      );
      if (run)
        await client.query(
          `insert into watch_runs (source, started_at, seen_at) values ($1, $2, $3)
           on conflict (source, started_at) do update set seen_at = greatest(watch_runs.seen_at, excluded.seen_at)`,
          [sourceId, run.startedAt, run.seenAt],
        );
      await client.query(
        `update gaps set ended_at = greatest(opened_at, $2), closed_at = greatest(opened_at, $2)
         where source = $1 and closed_at is null
           and not exists (select 1 from unnest($3::timestamptz[], $4::int[]) as told (opened_at, gap)
             where told.opened_at = gaps.opened_at and told.gap = gaps.gap)`,
        [sourceId, now, gaps.map(({ openedAt }) => openedAt), gaps.map(({ gap }) => gap)],
      );
      await writeGaps(client, sourceId, gaps);
      await forget(client, sourceId, now);
    });
  }

  async list(sourceIds: readonly number[]): Promise<Map<number, WatchRow>> {
    const { rows } = await this.#db.query(
      `select w.*, (select coalesce(json_agg(one), '[]') from (
           select reason, min(opened_at) as since, count(*)::int as count from gaps g
           where g.source = w.source and g.closed_at is null group by reason order by since, reason limit 16
         ) one) as open
       from watches w where w.source = any($1::int[]) and w.seen_at is not null`,
      [sourceIds],
    );
    return new Map(rows.map((row) => [row.source, watchOf(row)]));
  }

  async history(sourceId: number, from: Date, to: Date, limit: number): Promise<WatchHistory> {
    const values = [sourceId, from, to, limit];
    const runs = await this.#db.query(
      `select started_at as "startedAt", seen_at as "seenAt" from watch_runs
       where source = $1 and seen_at >= $2 and started_at <= $3 order by started_at limit $4`,
      values,
    );
    const gaps = await this.#db.query(
      `select * from gaps where source = $1 and (ended_at is null or ended_at >= $2) and opened_at <= $3
       order by opened_at, gap limit $4`,
      values,
    );
    const { rows } = await this.#db.query('select forgotten_until from watches where source = $1', [
      sourceId,
    ]);
    return {
      runs: runs.rows,
      gaps: gaps.rows.map(gapOf),
      forgottenUntil: rows[0]?.forgotten_until ?? undefined,
    };
  }

  setExceeded(
    sourceId: number,
    isExceeded: boolean,
    event: CommitRequest['events'][number],
    now: Date,
  ): Promise<boolean> {
    return this.#db.transaction(async (client) => {
      const { exceeded } = await lockWatch(client, sourceId);
      if (exceeded === isExceeded) return false;
      await client.query('update watches set exceeded = $2 where source = $1', [sourceId, isExceeded]);
      await addEvents(client, sourceId, [event], now);
      return true;
    });
  }

  async silent(silenceSeconds: number): Promise<SilentWatch[]> {
    const { rows } = await this.#db.query(
      `select source as "sourceId", oldest_change as "oldestChange" from watches
       where oldest_change is not null and not exceeded
         and seen_at < clock_timestamp() - make_interval(secs => $1) order by source`,
      [silenceSeconds],
    );
    return rows;
  }

  async caughtUp(silenceSeconds: number): Promise<number[]> {
    const { rows } = await this.#db.query(
      `select source from watches w
       where (oldest_change is not null or exceeded) and seen_at < clock_timestamp() - make_interval(secs => $1)
         and exists (select 1 from backups b where b.source = w.source and b.state in ('committed', 'expired')
           and b.opened_at > w.seen_at + make_interval(secs => $1)) order by source`,
      [silenceSeconds],
    );
    return rows.map(({ source }) => source);
  }

  async forgetChanges(sourceIds: readonly number[], silenceSeconds: number): Promise<void> {
    await this.#db.query(
      `update watches set oldest_change = null
       where source = any($1::int[]) and seen_at < clock_timestamp() - make_interval(secs => $2)`,
      [sourceIds, silenceSeconds],
    );
  }

  async totals(): Promise<WatchTotals> {
    const { rows } = await this.#db.query(
      `select count(*) filter (where kind is not null and seen_at > clock_timestamp() - interval '90 s')::int as watched,
         count(*) filter (where exceeded)::int as exceeded from watches`,
    );
    const gaps = await this.#db.query(
      'select reason, count(distinct source)::int as sources from gaps where closed_at is null group by reason',
    );
    return { ...rows[0], withGaps: new Map(gaps.rows.map(({ reason, sources }) => [reason, sources])) };
  }
}

/** Dates within JSON are texts. */
const watchOf = (row: Row): WatchRow => ({
  kind: row.kind ?? undefined,
  state: row.state,
  pending: row.pending,
  oldestChange: row.oldest_change ?? undefined,
  seenAt: row.seen_at,
  isExceeded: row.exceeded,
  openGaps: row.open.map((one: Row) => ({ ...one, since: new Date(one.since) })),
});

async function writeGaps(client: PoolClient, sourceId: number, gaps: readonly WatchedGap[]): Promise<void> {
  if (gaps.length === 0) return;
  await client.query(
    `insert into gaps (source, gap, reason, opened_at, ended_at, closed_at)
     select distinct on (opened_at, gap) $1::int, gap, reason, opened_at, ended_at, closed_at
     from unnest($2::int[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
       as told (gap, reason, opened_at, ended_at, closed_at)
     on conflict (source, opened_at, gap) do update
       set ended_at = excluded.ended_at, closed_at = excluded.closed_at where gaps.closed_at is null`,
    [
      sourceId,
      gaps.map(({ gap }) => gap),
      gaps.map(({ reason }) => reason),
      gaps.map(({ openedAt }) => openedAt),
      gaps.map(({ endedAt }) => endedAt ?? null),
      gaps.map(({ closedAt }) => closedAt ?? null),
    ],
  );
}

/** What began before the bound is found by the primary keys. `forgotten_until`: the last end that was dropped. */
async function forget(client: PoolClient, sourceId: number, now: Date): Promise<void> {
  await client.query(
    `with bound as (select $2::timestamptz - make_interval(days => $3) as at),
       old_gaps as (delete from gaps using bound where source = $1 and opened_at < bound.at
         and greatest(closed_at, ended_at) < bound.at and closed_at is not null
         returning greatest(closed_at, ended_at) as until),
       old_runs as (delete from watch_runs using bound where source = $1 and started_at < bound.at
         and seen_at < bound.at returning seen_at as until),
       old as (select max(until) as until from (select * from old_gaps union all select * from old_runs) dropped)
     update watches set forgotten_until = greatest(forgotten_until, old.until) from old
     where source = $1 and old.until is not null`,
    [sourceId, now, HISTORY_DAYS],
  );
}
