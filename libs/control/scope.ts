import type { Principal } from '../http/principal.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { Registry, SourceRow } from '../registry/port.ts';

/** A reader sees everything, an agent what is its own. */
const mayRead = ({ kind, agentUid }: Principal, source: SourceRow): boolean =>
  kind !== 'agent' || (agentUid !== undefined && source.agentUid === agentUid);

/** Throws TM1811 (none) or TM1802 (somebody else's). */
export async function sourceFor(registry: Registry, principal: Principal, uid: string): Promise<SourceRow> {
  const source = await registry.catalogue.source({ uid });
  if (!source) throw new TmError('TM1811', `source ${uid}`);
  if (!mayRead(principal, source)) throw new TmError('TM1802', 'the source belongs to another agent');
  return source;
}

export interface FoundBackup {
  readonly backup: BackupInfo;
  readonly source: SourceRow;
}

export async function backupFor(registry: Registry, principal: Principal, id: string): Promise<FoundBackup> {
  const backup = await registry.backups.get(id);
  const source = backup && (await registry.catalogue.source({ id: backup.sourceId }));
  if (!backup || !source) throw new TmError('TM1811', `backup ${id}`);
  if (!mayRead(principal, source)) throw new TmError('TM1802', 'the backup belongs to another agent');
  return { backup, source };
}

/** As above; only what is committed can be looked into. */
export async function committedFor(
  registry: Registry,
  principal: Principal,
  id: string,
): Promise<FoundBackup> {
  const found = await backupFor(registry, principal, id);
  const { state, label } = found.backup;
  if (state !== 'committed') throw new TmError('TM1811', `backup ${label} is ${state}, not committed`);
  return found;
}
