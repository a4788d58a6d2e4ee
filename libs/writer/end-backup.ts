import { abortBackup } from '../commit/abort-backup.ts';
import type { BackupInfo } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';

/** 15xx but those of locks and the stream: they say what is wrong with one backup, not with registry, store or stream. */
const OF_STREAM = new Set(['TM1501', 'TM1508', 'TM1514', 'TM1515', 'TM1516']);

export const isOfBackup = (error: unknown): error is TmError =>
  error instanceof TmError && /^TM15/.test(error.code) && !OF_STREAM.has(error.code);

/**
 * Ends a backup that is open or sealed; one that is past that is left to its journal object. Gives the backup that it
 * ended; nothing where it had ended before.
 */
export async function failBackup(
  { backups }: Pick<Registry, 'backups'>,
  backupId: string,
  code: string,
): Promise<BackupInfo | undefined> {
  const backup = await backups.get(backupId);
  if (backup?.state !== 'open' && backup?.state !== 'sealed') return undefined;
  const state = await abortBackup({ backups }, backup, code);
  return state === 'failed' ? backup : undefined;
}
