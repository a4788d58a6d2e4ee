import type { Principal } from '../http/principal.ts';
import type { BackupState } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';

/** What the storage writer has to know of a backup. */
export interface KnownBackup {
  readonly id: string;
  readonly sourceId: number;
  readonly seq: number;
  readonly state: BackupState;
  /** UUIDs of its source's domain and agent; a source of an embedded home has no agent. */
  readonly domain: string;
  readonly agentUid: string | undefined;
}

/** Looks a backup up, as it is now. */
export type BackupOf = (backupId: string) => Promise<KnownBackup | undefined>;

/** Throws TM1802 where it is another agent's, TM1507 or TM1502 where it takes nothing any more. */
export async function writableBackup(
  principal: Principal,
  id: string,
  backupOf: BackupOf,
): Promise<KnownBackup> {
  const backup = await known(id, backupOf);
  if (!isOwn(principal, backup)) throw foreign();
  if (backup.state === 'fenced' || backup.state === 'failed') throw new TmError('TM1502');
  if (backup.state !== 'open') throw new TmError('TM1507');
  return backup;
}

/** Committed ones; an agent also sees its own while they are under way. Throws TM1701, TM1802. */
export async function readableBackup(
  principal: Principal,
  id: string,
  backupOf: BackupOf,
): Promise<KnownBackup> {
  const backup = await known(id, backupOf);
  const isOfAgent = isOwn(principal, backup);
  if (principal.kind === 'agent' && !isOfAgent) throw foreign();
  const isUnderWay = ['open', 'sealed', 'committing'].includes(backup.state);
  if (backup.state !== 'committed' && !(isOfAgent && isUnderWay)) throw new TmError('TM1701', id);
  return backup;
}

async function known(id: string, backupOf: BackupOf): Promise<KnownBackup> {
  const backup = await backupOf(id);
  if (!backup) throw new TmError('TM1701', id);
  return backup;
}

const isOwn = ({ kind, agentUid }: Principal, backup: KnownBackup): boolean =>
  kind === 'agent' && agentUid !== undefined && agentUid === backup.agentUid;

const foreign = (): TmError => new TmError('TM1802', 'the backup belongs to another agent');
