import { fromText } from '../model/byte-text.ts';
import type { Wish } from '../monitor/port.ts';
import { askWatch } from './ask-watch.ts';
import { type BackupRequest, backup } from './backup.ts';
import type { Engine } from './engine.ts';
import { placeOf } from './watch-protocol.ts';

/** What is not said is left to the watch. */
export const wishOf = (request: BackupRequest): Wish => ({
  ...request,
  excludes: request.excludes.length > 0 ? request.excludes : undefined,
  oneFileSystem: request.oneFileSystem || undefined,
});

/** A backup by the process that watches the folder, if there is one, else by this one. `dir` is canonical. */
export async function backupOrAsk(
  engine: Engine,
  request: BackupRequest,
): Promise<{ readonly label: string }> {
  const root = typeof request.dir === 'string' ? fromText(request.dir) : request.dir;
  const place = { folder: engine.home.watchFolder, place: placeOf(engine.config) };
  return (await askWatch(place, root, wishOf(request))) ?? backup(engine, request);
}
