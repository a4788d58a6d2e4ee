/**
 * Watched sources (docs/decisions/011-watch.md). Of all this only a backup's gaps are in the store: who watches tells the
 * rest again. Times of runs and gaps are of the agent's clock, as in its ledger.
 */
export const watchingSql = (): string => `
alter table backups add column gaps text[];
create table watches (
  source int primary key references sources,
  kind text,
  state text,
  pending int not null default 0,
  oldest_change timestamptz,
  seen_at timestamptz,
  exceeded boolean not null default false
);
create table watch_runs (
  source int not null references sources,
  started_at timestamptz not null,
  seen_at timestamptz not null,
  primary key (source, started_at)
);
create table gaps (
  source int not null references sources,
  gap int not null,
  reason text not null,
  opened_at timestamptz not null,
  ended_at timestamptz,
  closed_at timestamptz,
  primary key (source, opened_at, gap)
);
create index gaps_open on gaps (source) where closed_at is null;
`;
