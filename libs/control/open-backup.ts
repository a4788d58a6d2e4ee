import { randomBytes } from 'node:crypto';
import { ensureSource } from '../cell/ensure-source.ts';
import { settleSource } from '../cell/recover.ts';
import { abortBackup } from '../commit/abort-backup.ts';
import type { OpenReply } from '../contracts/api/control.ts';
import type { BackupCounts, BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { BackupKind } from '../model/label.ts';
import type { AgentRow, OpenedBackup, Registry, SourceRow } from '../registry/port.ts';
import { watchPolicyOf } from '../schedule/recovery-point.ts';
import type { ControlParts } from './parts.ts';
import { backupView } from './views.ts';

/** Heartbeats that are asked for in the time of one lease. */
const HEARTBEATS = 4;
const MAC_KEY_BYTES = 32;
/** A full of more entries is spread over more shards. */
const ENTRIES_A_SHARD = 50_000;
const MAX_SHARDS = 16;
/** Of a source's first full, of which nobody knows how large it is. */
const UNKNOWN_SHARDS = 4;

export interface BackupOrder {
  readonly agentUid: string;
  readonly instance: string;
  readonly root: Buffer;
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
}

/** A differential is small; a full has as many entries as the base. */
export function planShards(kind: BackupKind, base: BackupCounts | undefined): number {
  if (kind === 'differential') return 1;
  if (!base) return UNKNOWN_SHARDS;
  const entries = base.files + base.directories + base.others;
  return Math.min(MAX_SHARDS, Math.max(1, Math.ceil(entries / ENTRIES_A_SHARD)));
}

/** Without a wish: differential when there is a baseline. Throws TM1001 for a differential without one. */
export function kindFor({ baseline }: SourceRow, wish: BackupKind | undefined): BackupKind {
  if (wish === 'differential' && baseline === 0)
    throw new TmError('TM1001', 'there is no full backup of this folder yet');
  return wish ?? (baseline > 0 ? 'differential' : 'full');
}

/** Opens a backup for an agent: source (in the journal first), slot and lease, and all that the agent needs of the base. */
export async function openBackup(parts: ControlParts, order: BackupOrder): Promise<OpenReply> {
  const { cell } = parts;
  const source = await sourceOf(parts, order);
  const kind = kindFor(source, order.kind);
  await settleSource(cell, source.id);
  const base = await cell.registry.backups.at(source.id, source.head);
  const opened = await takeSlot(parts, source, order, kind, planShards(kind, base?.counts));
  try {
    return await replyOf(parts, opened);
  } catch (error) {
    await abortBackup(cell.registry, opened.opened.backup, 'TM1502').catch(() => {});
    throw error;
  }
}

/** The source of an agent's folder, made where it is new. Throws TM1807 where the path is not absolute. */
export async function sourceOf(
  { cell }: ControlParts,
  { agentUid, root }: Pick<BackupOrder, 'agentUid' | 'root'>,
): Promise<SourceRow> {
  if (root[0] !== 0x2f || root.includes(0)) throw new TmError('TM1807', 'body.root: no absolute path');
  const { catalogue, access, domains } = cell.registry;
  const known = await catalogue.source({ agentUid, root });
  if (known) return known;
  const agent: AgentRow | undefined = await access.agent(agentUid);
  const domain = agent && (await domains.get(agent.domain));
  if (!domain) throw new TmError('TM1801', `agent ${agentUid} or its domain is not known`);
  return ensureSource(cell, domain, agent, root);
}

interface Opened {
  readonly opened: OpenedBackup;
  readonly macKey: Buffer;
  readonly shards: number;
}

async function takeSlot(
  { cell: { registry }, leaseSeconds }: ControlParts,
  source: SourceRow,
  { instance, tags }: BackupOrder,
  kind: BackupKind,
  shards: number,
): Promise<Opened> {
  const macKey = randomBytes(MAC_KEY_BYTES);
  const lease = { seconds: leaseSeconds, macKey, instance, shards };
  const open = () => registry.backups.open({ sourceId: source.id, kind, tags, lease });
  try {
    return { opened: await open(), macKey, shards };
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1501')) throw error;
    if (!(await dropOwn(registry, source, instance))) throw error;
    return { opened: await open(), macKey, shards };
  }
}

/** A process that opens again has not got the reply, or has given the earlier one up: it need not wait for its lease. */
async function dropOwn(registry: Registry, source: SourceRow, instance: string): Promise<boolean> {
  const [standing] = await registry.catalogue.standings([source]);
  const active = standing?.active;
  if (active?.state !== 'open') return false;
  const admission = (await registry.backups.admissions([active.id])).get(active.id);
  if (admission?.instance !== instance) return false;
  return (await abortBackup(registry, active, 'TM1502')) === 'failed';
}

async function replyOf(parts: ControlParts, { opened, macKey, shards }: Opened): Promise<OpenReply> {
  const { backup, source, baseDigest } = opened;
  const { registry } = parts.cell;
  const { uid, domain, baseline } = source;
  return {
    backup: backupView(backup, uid),
    source: {
      number: source.id,
      uid,
      domain,
      key: source.key.toString('base64'),
      rootHint: source.rootHint ?? null,
      baseline,
    },
    base:
      backup.baseSeq === 0
        ? null
        : {
            backup: backupView(await baseOf(registry, backup), uid),
            stateDigest: baseDigest.toString('base64'),
          },
    damaged: backup.baseSeq > 0 && (await registry.blocks.hasDamage(domain)),
    macKey: macKey.toString('base64'),
    lease: { seconds: parts.leaseSeconds, renewSeconds: Math.floor(parts.leaseSeconds / HEARTBEATS) },
    shards,
    writers: [...parts.writers],
    excludes: await excludesOf(parts, source),
  };
}

/** Undefined where the policy can't be read: no reason not to back up. */
async function excludesOf(
  { cell: { registry }, defaultPolicy }: ControlParts,
  source: SourceRow,
): Promise<string[] | undefined> {
  try {
    return [...(await watchPolicyOf(registry, source, defaultPolicy)).excludes];
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1812') return undefined;
    throw error;
  }
}

async function baseOf({ backups }: Registry, { sourceId, baseSeq }: BackupInfo): Promise<BackupInfo> {
  const base = await backups.at(sourceId, baseSeq);
  if (!base) throw new TmError('TM1303', `backup ${baseSeq} is not in the registry`);
  return base;
}
