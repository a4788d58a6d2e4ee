import type { DomainKeys } from '../blocks/keys.ts';
import { sameContent } from '../calculate/delta-calculator.ts';
import type {
  AgentView,
  BackupView,
  ChangeView,
  DomainView,
  DueJobView,
  EntryView,
  JobView,
  ScheduledView,
  SourceView,
} from '../contracts/api/control-views.ts';
import type { BackupInfo } from '../model/backup.ts';
import { decodeState, EntryFlag, type EntryState, EntryType } from '../model/entry.ts';
import { bytesToJson, joinPath, pathToJson, type TreePath } from '../model/tree-path.ts';
import type { AgentRow, EntryKey, EntryVersion, SourceRow } from '../registry/port.ts';
import type { DueJob, JobInfo } from '../schedule/job.ts';
import type { ScheduledSource } from '../schedule/schedule-api.ts';

/** Rows of the registry as replies show them. */

const time = (date: Date | undefined): string | null => date?.toISOString() ?? null;

export const backupView = (backup: BackupInfo, sourceUid: string): BackupView => ({
  id: backup.id,
  source: sourceUid,
  seq: backup.seq,
  epoch: backup.epoch,
  kind: backup.kind,
  label: backup.label,
  baselineSeq: backup.baselineSeq,
  baseSeq: backup.baseSeq,
  state: backup.state,
  openedAt: backup.openedAt.toISOString(),
  committedAt: time(backup.committedAt),
  readFrom: time(backup.readFrom),
  readTo: time(backup.readTo),
  stateDigest: backup.stateDigest?.toString('base64') ?? null,
  counts: backup.counts ?? null,
  tags: backup.tags,
  pinned: backup.pinned,
  gaps: backup.gaps ? [...backup.gaps] : null,
  failure: backup.failure ?? null,
});

export const sourceView = ({
  uid,
  agent,
  agentUid,
  root,
  domain,
  head,
  baseline,
}: SourceRow): SourceView => ({
  id: uid,
  agent,
  agentId: agentUid ?? null,
  root: bytesToJson(root),
  domain,
  head,
  baseline,
});

export const agentView = ({ uid, name, domain, enrolledAt, lastSeenAt, revokedAt }: AgentRow): AgentView => ({
  id: uid,
  name,
  domain,
  enrolledAt: enrolledAt.toISOString(),
  lastSeenAt: time(lastSeenAt),
  revokedAt: time(revokedAt),
});

export const domainView = ({ id, recipient, dedupKey, digestKey }: DomainKeys): DomainView => ({
  id,
  recipient,
  dedupKey: dedupKey.toString('base64'),
  digestKey: digestKey.toString('base64'),
});

export const dueJobView = (job: DueJob): DueJobView => ({
  id: job.id,
  source: job.source,
  agent: job.agent,
  root: bytesToJson(Buffer.from(job.root, 'base64')),
  kind: job.kind,
  reason: job.reason,
  slot: job.slot,
  dueAt: job.dueAt,
  attempt: job.attempt,
  excludes: [...job.excludes],
  tags: job.tags,
  ...(job.oneFileSystem && { oneFileSystem: true }),
  ...(job.acceptRoot && { acceptRoot: true }),
});

export const jobView = (job: JobInfo): JobView => ({
  ...dueJobView(job),
  state: job.state,
  offeredAt: job.offeredAt.toISOString(),
  endedAt: time(job.endedAt),
  failure: job.failure ?? null,
  backup: job.backup ?? null,
});

export const scheduledView = (one: ScheduledSource): ScheduledView => ({
  source: one.source,
  agent: one.agent,
  agentId: one.agentUid ?? null,
  root: bytesToJson(one.root),
  policy: one.policy,
  byDefault: one.byDefault === true,
  next: one.next ? { at: one.next.at.toISOString(), kind: one.next.kind } : null,
  lastFull: time(one.lastFull),
  lastBackup: time(one.lastBackup),
  jobs: one.jobs.map(jobView),
});

/** The root has neither directory nor name. */
export const pathOf = ({ dir, name }: EntryKey): TreePath => (name.length === 0 ? dir : joinPath(dir, name));

const TYPES = new Map(Object.entries(EntryType).map(([name, type]) => [type, name as EntryView['type']]));

export const entryView = (entry: EntryVersion, state = decodeState(entry.state)): EntryView => ({
  path: pathToJson(pathOf(entry)),
  type: TYPES.get(state.type)!,
  seq: entry.seq,
  size: String(state.size),
  mode: state.mode,
  uid: state.uid,
  gid: state.gid,
  user: state.user,
  group: state.group,
  mtimeNs: String(state.mtimeSec * 1_000_000_000n + BigInt(state.mtimeNsec)),
  ...(state.type === EntryType.symlink ? { target: bytesToJson(state.target) } : {}),
  ...(state.digest ? { digest: state.digest.toString('base64') } : {}),
  ...(state.flags & EntryFlag.inconsistent ? { inconsistent: true as const } : {}),
});

export function changeView(change: {
  key: EntryKey;
  before: EntryVersion | undefined;
  after: EntryVersion | undefined;
}): ChangeView {
  const [before, after] = [stateOf(change.before), stateOf(change.after)];
  return {
    op: opOf(before, after),
    path: pathToJson(pathOf(change.key)),
    before: before ? entryView(change.before!, before) : null,
    after: after ? entryView(change.after!, after) : null,
  };
}

const stateOf = (version: EntryVersion | undefined): EntryState | undefined =>
  version && decodeState(version.state);

function opOf(before: EntryState | undefined, after: EntryState | undefined): ChangeView['op'] {
  if (!before) return 'added';
  if (!after) return 'deleted';
  return sameContent(before, after) ? 'metadata' : 'changed';
}
