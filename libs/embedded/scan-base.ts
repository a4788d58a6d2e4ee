import type { ScanBase } from '../agent/open-scan.ts';
import { damagedEntries } from '../cell/damaged-entries.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { OpenedBackup, Registry, SourceRow } from '../registry/port.ts';
import type { StateIdentity } from '../scan/index.ts';

/** The base of an opened backup, from the registry at hand; undefined for a source's first backup. */
export async function scanBase(
  registry: Registry,
  { backup, source }: Pick<OpenedBackup, 'backup' | 'source'>,
): Promise<ScanBase | undefined> {
  if (backup.baseSeq === 0) return undefined;
  return baseOf(registry, source, await findBase(registry, source.id, backup.baseSeq));
}

export async function baseOf(registry: Registry, source: SourceRow, base: BackupInfo): Promise<ScanBase> {
  return {
    identity: stateIdentity(source.uid, base, base.stateDigest!),
    label: base.label,
    bytes: base.counts?.bytes,
    damaged: await damagedEntries(registry, source, base.seq),
    entries: () => registry.entries.list(source.id, base.seq),
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
