import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { askWatch } from '../../libs/embedded/ask-watch.ts';
import type { BackupRequest } from '../../libs/embedded/backup.ts';
import { wishOf } from '../../libs/embedded/backup-or-ask.ts';
import { watchFolderOf } from '../../libs/embedded/home.ts';
import { type MadeBackup, placeOf } from '../../libs/embedded/watch-protocol.ts';
import { fromText } from '../../libs/model/byte-text.ts';
import type { Context } from './context.ts';

/** The backup, if a process that watches the folder makes it; registry and store stay closed here. */
export async function askedWatch(
  { settings, output }: Context,
  request: BackupRequest,
): Promise<MadeBackup | undefined> {
  const folder = watchFolderOf(settings.home);
  if (!existsSync(folder)) return undefined;
  const dir = typeof request.dir === 'string' ? fromText(request.dir) : request.dir;
  const root = await realpath(dir, { encoding: 'buffer' }).catch(() => undefined);
  if (!root) return undefined; // what is wrong with it is said by who makes the backup
  const made = await askWatch({ folder, place: placeOf(settings) }, root, wishOf(request));
  if (made) output.status('made by the process that watches this folder');
  return made;
}
