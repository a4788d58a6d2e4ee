import { findBackup } from '../../../libs/catalogue/find-backup.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Context, withReader } from '../context.ts';

/** A and B, or A's baseline and A. */
export async function diff(context: Context, [labelA, labelB]: string[]): Promise<number> {
  const { settings, output } = context;
  return withReader(context, async (reader) => {
    const a = await findBackup(reader, labelA!, settings.source);
    const b = labelB === undefined ? undefined : await findBackup(reader, labelB, settings.source);
    if (b && a.source.id !== b.source.id)
      throw new TmError('TM1001', 'the two backups are of different folders');
    const changes = b ? reader.catalogue.changes(b, a) : reader.catalogue.changes(a);
    for await (const page of changes) {
      for (const { op, path } of page)
        output.line(
          { type: 'change', op, path: pathToJson(path) },
          () => `${op.padEnd(8)} ${pathToDisplay(path)}`,
        );
    }
    return 0;
  });
}
