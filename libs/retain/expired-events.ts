import type { BackupInfo } from '../model/backup.ts';
import type { CommitRequest } from '../registry/port.ts';

/** What the world is told of backups that have expired. */
export function expiredEvents(backups: readonly BackupInfo[]): CommitRequest['events'] {
  return backups.map(({ id, seq, kind, label }) => ({
    type: 'backup.expired',
    data: { backupId: id, seq, kind, label },
  }));
}
