import type { ScanBase } from '../agent/open-scan.ts';
import { damagedEntries } from '../cell/damaged-entries.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { OpenedBackup, Registry, SourceHead } from '../registry/port.ts';
import type { StateIdentity } from '../scan/index.ts';

/** The base of an opened backup, from the registry at hand; undefined for a source's first backup. */
export async function scanBase(
  registry: Registry,
  { backup, source }: Pick<OpenedBackup, 'backup' | 'source'>,
): Promise<ScanBase | undefined> {
  if (backup.baseSeq === 0) return undefined;
  const base = await findBase(registry, source.id, backup.baseSeq);
  return baseOf(registry, { source, backup: base, hasDamage: true });
}

/** `hasDamage`: whether it is worth looking for. */
export async function baseOf(
  registry: Registry,
  { source, backup, hasDamage }: SourceHead & { readonly backup: BackupInfo },
): Promise<ScanBase> {
  return {
    identity: stateIdentity(source.uid, backup, backup.stateDigest!),
    label: backup.label,
    bytes: backup.counts?.bytes,
    damaged: hasDamage ? await damagedEntries(registry, source, backup.seq) : undefined,
    entries: () => registry.entries.list(source.id, backup.seq),
  };
}

export async function findBase(registry: Registry, sourceId: number, seq: number): Promise<BackupInfo> {
  const base = await registry.backups.at(sourceId, seq);
  if (!base) throw new TmError('TM1303', `backup ${seq} is not in the registry`);
  return base;
}

export const stateIdentity = (
  sourceUid: string,
  { seq, epoch }: BackupInfo,
  stateDigest: Buffer,
): StateIdentity => ({ sourceUid, seq, epoch, stateDigest });
