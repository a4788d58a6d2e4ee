/** Tables of the baseline registry (1-architecture, "Baseline registry"). Order by bytea is order by bytes. */
const PARTITIONS = 8;

/**
 * Bytes of a directory's path that the index in tree order holds: no key of an index may be as long as a path may be.
 * What is equal in them is sorted by who reads.
 */
export const TREE_PREFIX = 256;

const TABLES = `
create table meta (key text primary key, value jsonb not null);
create table domains (
  uid text primary key,
  recipient text not null,
  dedup_key bytea not null,
  digest_key bytea not null,
  added_at timestamptz not null default now()
);
create table sources (
  id int generated always as identity primary key,
  uid text not null unique,
  agent text not null,
  agent_uid uuid,
  root bytea not null,
  key bytea not null,
  domain text not null,
  generation int not null default 1,
  counter int not null default 0,
  next_seq bigint not null default 1,
  head bigint not null default 0,
  baseline bigint not null default 0,
  next_event bigint not null default 1,
  root_hint text
);
-- A root may be longer than a key of an index.
create unique index sources_embedded on sources (agent, sha256(root)) where agent_uid is null;
create unique index sources_of_agents on sources (agent_uid, sha256(root)) where agent_uid is not null;
create table backups (
  id uuid primary key,
  source int not null references sources,
  seq bigint not null,
  generation int not null,
  counter int not null,
  kind text not null,
  label text not null,
  baseline_seq bigint not null,
  base_seq bigint not null,
  state text not null,
  opened_at timestamptz not null,
  committed_at timestamptz,
  read_from timestamptz,
  read_to timestamptz,
  state_digest bytea,
  counts jsonb,
  tags jsonb not null,
  pinned boolean not null default false,
  failure text,
  seal jsonb,
  runs jsonb,
  journal_writer text,
  journal_number bigint,
  lease_until timestamptz,
  lease_instance text,
  mac_key bytea,
  shards int,
  sealed_at timestamptz,
  unique (source, seq),
  unique (source, label)
);
create unique index one_slot on backups (source) where state in ('open', 'sealed', 'committing');
create index backups_by_time on backups (source, kind, opened_at) where state in ('committed', 'expired');
create table pieces (
  backup uuid not null references backups on delete cascade,
  shard int not null,
  batch_no int not null,
  digest bytea not null,
  added bytea not null,
  removed bytea not null,
  counts jsonb not null,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (backup, shard, batch_no)
);
create table entries (
  source int not null,
  dir bytea not null,
  name bytea not null,
  seq bigint not null,
  op smallint not null,
  as_baseline boolean not null,
  hash bytea not null,
  digest bytea,
  dir_path bytea not null,
  state bytea not null,
  hints bytea not null,
  primary key (source, dir, name, seq)
) partition by hash (source);
create table problems (
  source int not null,
  seq bigint not null,
  dir_path bytea not null,
  name bytea not null,
  code int not null,
  primary key (source, seq, dir_path, name)
);
create table packs (
  id int generated always as identity primary key,
  domain text not null,
  pack bytea not null unique,
  size bigint not null,
  state text not null,
  created_at timestamptz not null default now()
);
create table blocks (
  domain text not null,
  id bytea not null,
  pack int not null references packs,
  frame_offset int not null,
  frame_length int not null,
  at int not null,
  length int not null,
  kind smallint not null,
  damaged boolean not null default false,
  children bytea not null,
  primary key (domain, id)
);
create index blocks_by_pack on blocks (pack);
create index blocks_damaged on blocks (domain) where damaged;
create table outbox (
  id bigint generated always as identity primary key,
  source int not null references sources,
  event_no bigint not null,
  type text not null,
  time timestamptz not null,
  data jsonb not null,
  published boolean not null default false,
  unique (source, event_no)
);
create index outbox_pending on outbox (id) where not published;
create table agents (
  uid uuid primary key,
  name text not null,
  domain text not null,
  enrolled_at timestamptz not null default clock_timestamp(),
  instance text,
  instance_seen_at timestamptz,
  last_seen_at timestamptz,
  revoked_at timestamptz
);
create table tokens (
  id text primary key,
  kind text not null,
  hash bytea not null,
  name text not null,
  agent uuid references agents,
  domain text,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  used_at timestamptz,
  revoked_at timestamptz
);
create index tokens_of_agents on tokens (agent) where agent is not null;
create table policies (source text primary key, policy jsonb not null, updated_at timestamptz not null);
create table journal_heads (writer text primary key, number bigint not null, chain bytea not null);
`;

const partitions = (): string =>
  Array.from(
    { length: PARTITIONS },
    (_, i) => `
create table entries_${i} partition of entries for values with (modulus ${PARTITIONS}, remainder ${i});
create index entries_${i}_seq on entries_${i} (source, seq);
create index entries_${i}_tree on entries_${i} (source, substr(dir_path, 1, ${TREE_PREFIX}));`,
  ).join('');

export const initialSql = (): string => TABLES + partitions();
