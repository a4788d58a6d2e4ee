import { findBackup } from '../../../libs/catalogue/find-backup.ts';
import { decodeState, EntryType } from '../../../libs/model/entry.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { fromSlashes, joinPath, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Context, withReader } from '../context.ts';

const NAMES = Object.fromEntries(Object.entries(EntryType).map(([name, value]) => [value, name]));
const LETTERS: Readonly<Record<EntryType, string>> = { 1: '-', 2: 'd', 3: 'l', 4: 'p', 5: 'c', 6: 'b' };

export async function ls(
  context: Context,
  [label, path = '']: string[],
  options: { recursive?: boolean },
): Promise<number> {
  return withReader(context, async (reader) => {
    const wanted = await findBackup(reader, label!, context.settings.source);
    const within = fromSlashes(path);
    let found = false;
    const depth = options.recursive ? 'all' : 'children';
    for await (const page of reader.catalogue.entries(wanted).list({ within, depth })) {
      for (const { dir, name, state } of page) {
        found = true;
        const entry = decodeState(state);
        const full = name.length === 0 ? dir : joinPath(dir, name);
        const mtime = new Date(Number(entry.mtimeSec) * 1000);
        const time = Number.isNaN(mtime.getTime()) ? String(entry.mtimeSec) : mtime.toISOString();
        context.output.line(
          {
            type: 'entry',
            path: pathToJson(full),
            kind: NAMES[entry.type],
            size: entry.size,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: time,
          },
          () =>
            `${LETTERS[entry.type]}${entry.mode.toString(8).padStart(4, '0')} ${entry.user || entry.uid}:${entry.group || entry.gid} ${String(entry.size).padStart(12)} ${time.slice(0, 19)} ${pathToDisplay(full)}`,
        );
      }
    }
    if (!found) throw new TmError('TM1704', path, { path });
    return 0;
  });
}
