import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { Cell } from './cell.ts';

/** The backup as it is now, under `deciding`: TM1701 where it has expired since it was looked up. */
export async function stillCommitted(cell: Cell, { id, label }: BackupInfo): Promise<BackupInfo> {
  const now = await cell.registry.backups.get(id);
  if (now?.state !== 'committed') throw new TmError('TM1701', `${label} has expired`);
  return now;
}
