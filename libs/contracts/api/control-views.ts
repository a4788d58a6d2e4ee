import { z } from 'zod';
import { WatchView } from './watch.ts';
import {
  base64,
  decimal,
  digest,
  epoch,
  errorCode,
  jsonPath,
  kind,
  moment,
  tags,
  uuid,
  whole,
} from './wire.ts';

/** What the control plane says of agents, sources, backups and entries. */

export const AgentView = z.object({
  id: z.string(),
  name: z.string(),
  domain: z.string(),
  enrolledAt: moment,
  lastSeenAt: moment.nullable(),
  revokedAt: moment.nullable(),
});
export type AgentView = z.infer<typeof AgentView>;

/** Enough to write with, not to read back. */
export const DomainView = z.object({
  id: z.string(),
  recipient: z.string(),
  dedupKey: digest,
  digestKey: digest,
});
export type DomainView = z.infer<typeof DomainView>;

export const SourceView = z.object({
  /** The source's uid. */
  id: uuid,
  /** Name and id of the agent; a source of the embedded mode has a name only. */
  agent: z.string(),
  agentId: z.string().nullable(),
  root: jsonPath,
  domain: z.string(),
  /** Source seq of the newest committed backup, and of the last committed full; 0 for none. */
  head: whole,
  baseline: whole,
});
export type SourceView = z.infer<typeof SourceView>;

const counts = z.object({
  files: whole,
  directories: whole,
  others: whole,
  bytes: whole,
  added: whole,
  changed: whole,
  metadata: whole,
  deleted: whole,
  unchanged: whole,
  newBytes: whole,
  storedBytes: whole,
  problems: whole,
});

export const BackupView = z.object({
  id: uuid,
  /** The source's uid. */
  source: uuid,
  seq: whole,
  epoch,
  kind,
  label: z.string(),
  baselineSeq: whole,
  baseSeq: whole,
  state: z.enum(['open', 'sealed', 'committing', 'committed', 'failed', 'fenced', 'expired']),
  openedAt: moment,
  committedAt: moment.nullable(),
  readFrom: moment.nullable(),
  readTo: moment.nullable(),
  stateDigest: digest.nullable(),
  counts: counts.nullable(),
  tags,
  pinned: z.boolean(),
  /** Of a watched source: why changes may have gone unnoticed when it was opened; null: nobody watched. */
  gaps: z.array(z.string()).nullable(),
  failure: errorCode.nullable(),
});
export type BackupView = z.infer<typeof BackupView>;

/** What people look at; whoever needs all of it (recipe, xattrs, hints) asks for records. */
export const EntryView = z.object({
  path: jsonPath,
  type: z.enum(['file', 'directory', 'symlink', 'fifo', 'charDevice', 'blockDevice']),
  /** Seq of the backup that brought it. */
  seq: whole,
  size: decimal,
  mode: whole,
  uid: whole,
  gid: whole,
  user: z.string(),
  group: z.string(),
  mtimeNs: decimal,
  /** Of a symlink. */
  target: jsonPath.optional(),
  /** Of a file: keyed digest of its content. */
  digest: base64.optional(),
  /** It changed while it was read. */
  inconsistent: z.literal(true).optional(),
});
export type EntryView = z.infer<typeof EntryView>;

export const ChangeView = z.object({
  op: z.enum(['added', 'changed', 'metadata', 'deleted']),
  path: jsonPath,
  before: EntryView.nullable(),
  after: EntryView.nullable(),
});
export type ChangeView = z.infer<typeof ChangeView>;

export const FoundView = z.object({
  path: jsonPath,
  source: uuid,
  /** The newest kept backup that holds it. */
  seq: whole,
  backup: uuid,
  label: z.string(),
});
export type FoundView = z.infer<typeof FoundView>;

export const SourceStatus = z.object({
  source: SourceView,
  /** The newest committed backup, and the source's last committed full. */
  last: BackupView.nullable(),
  lastFull: BackupView.nullable(),
  /** Since `last` was committed, by the registry's clock. */
  ageSeconds: whole.nullable(),
  /** The one under way. */
  open: BackupView.nullable(),
  /** The newest that failed, where that is newer than `last`. */
  failed: BackupView.nullable(),
  /** Null where no agent has said that it watches. */
  watch: WatchView.nullable(),
});
export type SourceStatus = z.infer<typeof SourceStatus>;

/** As libs/schedule/policy.ts has it; TM1812 says what is wrong with it. */
export const PolicyView = z.record(z.string(), z.unknown());

/** A backup that is to be made. */
export const DueJobView = z.object({
  id: uuid,
  source: uuid,
  /** Id of the agent that makes it. */
  agent: z.string(),
  root: jsonPath,
  kind,
  reason: z.enum(['first', 'schedule', 'after-full', 'manual']),
  /** Source, kind and due time that it fulfils: attempts share it. */
  slot: z.string(),
  dueAt: moment,
  attempt: whole,
  excludes: z.array(z.string()),
  tags,
  oneFileSystem: z.boolean().optional(),
  acceptRoot: z.boolean().optional(),
});
export type DueJobView = z.infer<typeof DueJobView>;

export const JobView = DueJobView.extend({
  state: z.enum(['waiting', 'running', 'done', 'failed']),
  offeredAt: moment,
  endedAt: moment.nullable(),
  failure: z.string().nullable(),
  backup: z.string().nullable(),
});
export type JobView = z.infer<typeof JobView>;

/** A source with a policy or under the default one, and what is to come of it. */
export const ScheduledView = z.object({
  /** The source's uid. */
  source: uuid,
  /** As in `SourceView`. */
  agent: z.string(),
  agentId: z.string().nullable(),
  root: jsonPath,
  policy: PolicyView,
  /** The policy is TIDEMARK_DEFAULT_POLICY: the source has none of its own. */
  byDefault: z.boolean(),
  /** Null while it is paused, or nothing is to come. */
  next: z.object({ at: moment, kind }).nullable(),
  /** When the newest of the committed ones was opened. */
  lastFull: moment.nullable(),
  lastBackup: moment.nullable(),
  /** Waiting and running. */
  jobs: z.array(JobView),
});
export type ScheduledView = z.infer<typeof ScheduledView>;
