import type { BackupInfo } from '../model/backup.ts';
import type { Registry } from '../registry/port.ts';

/** Committed backups of a domain's sources, oldest first. */
export async function backupsOf({ backups }: Registry, domain: string): Promise<BackupInfo[]> {
  const own = (await backups.sources()).filter((source) => source.domain === domain);
  const ids = new Set(own.map(({ id }) => id));
  return (await backups.list({})).filter(({ sourceId }) => ids.has(sourceId));
}
