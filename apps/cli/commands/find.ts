import { findSource } from '../../../libs/catalogue/find-backup.ts';
import type { FoundEntry } from '../../../libs/catalogue/port.ts';
import { bytesToDisplay, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Context, withReader } from '../context.ts';
import { rootToJson } from '../output.ts';

/** Finds paths in all backups; each once, with the newest backup of its source that holds it. */
export async function find(context: Context, [pattern]: string[]): Promise<number> {
  const { settings } = context;
  return withReader(context, async (reader) => {
    const source = settings.source === undefined ? undefined : await findSource(reader, settings.source);
    for await (const page of reader.catalogue.find(pattern!, source))
      for (const found of page) print(context, found);
    return 0;
  });
}

function print({ output }: Context, { backup, source, path, deleted }: FoundEntry): void {
  output.line(
    {
      type: 'found',
      label: backup.label,
      path: pathToJson(path),
      source: rootToJson(source.root),
      deleted,
    },
    () =>
      `${backup.label}  ${bytesToDisplay(source.root)}  ${pathToDisplay(path)}${deleted ? '  (deleted since)' : ''}`,
  );
}
