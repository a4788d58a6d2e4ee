import type { BackupInfo, BackupState } from '../model/backup.ts';
import type { Registry } from '../registry/port.ts';

/**
 * Ends a backup as failed, with its event, unless it is being committed or has ended. Gives its state after; undefined
 * where there is no such backup. Idempotent.
 */
export const abortBackup = (
  { backups }: Pick<Registry, 'backups'>,
  { id, label }: Pick<BackupInfo, 'id' | 'label'>,
  code: string,
): Promise<BackupState | undefined> =>
  backups.abort(id, code, [{ type: 'backup.failed', data: { backupId: id, label, code } }]);
