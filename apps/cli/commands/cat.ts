import { findBackup } from '../../../libs/catalogue/find-backup.ts';
import { decodeState, EntryType } from '../../../libs/model/entry.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { baseName, fromSlashes, parentPath } from '../../../libs/model/tree-path.ts';
import { BlockReader } from '../../../libs/restore/block-reader.ts';
import { contentOf } from '../../../libs/restore/content.ts';
import { type Context, withReader } from '../context.ts';

export async function cat(context: Context, [label, path]: string[]): Promise<number> {
  return withReader(
    context,
    async (reader) => {
      const wanted = await findBackup(reader, label!, context.settings.source);
      const at = fromSlashes(path!);
      const key = { dir: parentPath(at), name: baseName(at) };
      const [found] = await reader.catalogue.entries(wanted).lookup([key]);
      if (!found) throw new TmError('TM1704', path!, { path: path! });
      const state = decodeState(found.state);
      if (state.type !== EntryType.file) throw new TmError('TM1704', `${path} is no file`, { path: path! });
      const { keys, supplier } = await reader.blocks(wanted, context.signal);
      const { read } = new BlockReader(keys, supplier);
      for await (const bytes of contentOf(state, read)) await context.output.raw(bytes);
      return 0;
    },
    { readsPacks: true, isRaw: true },
  );
}
