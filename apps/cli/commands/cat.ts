import { findBackup } from '../../../libs/embedded/find-backup.ts';
import { readingKeys } from '../../../libs/embedded/reading-keys.ts';
import { decodeState, EntryType } from '../../../libs/model/entry.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { baseName, fromSlashes, parentPath } from '../../../libs/model/tree-path.ts';
import { BlockReader } from '../../../libs/restore/block-reader.ts';
import { StoreSupplier } from '../../../libs/restore/block-supplier.ts';
import { contentOf } from '../../../libs/restore/content.ts';
import { type Context, withReading } from '../context.ts';

export async function cat(context: Context, [label, path]: string[]): Promise<number> {
  return withReading(
    context,
    async (engine) => {
      const { backup, source } = await findBackup(engine, label!, context.settings.source);
      const wanted = fromSlashes(path!);
      const key = { dir: parentPath(wanted), name: baseName(wanted) };
      const [found] = await engine.registry.entries.lookup(source.id, backup.seq, [key]);
      if (!found) throw new TmError('TM1704', path!, { path: path! });
      const state = decodeState(found.state);
      if (state.type !== EntryType.file) throw new TmError('TM1704', `${path} is no file`, { path: path! });
      const keys = await readingKeys(engine);
      const supplier = new StoreSupplier(engine.registry, engine.store, keys, context.signal);
      const { read } = new BlockReader(keys, supplier);
      for await (const bytes of contentOf(state, read)) await context.output.raw(bytes);
      return 0;
    },
    true,
  );
}
