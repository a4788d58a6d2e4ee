import { committed } from '../../../libs/embedded/find-backup.ts';
import { bytesToDisplay, joinPath, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Context, withEngine } from '../context.ts';

/** A shell pattern of * and ? over names' bytes, as a regular expression over latin1 text. */
function matcher(pattern: string): (name: Buffer) => boolean {
  const source = [...Buffer.from(pattern).toString('latin1')]
    .map((c) => (c === '*' ? '[^]*' : c === '?' ? '[^]' : c.replace(/[\\^$.|+()[\]{}]/g, '\\$&')))
    .join('');
  const regex = new RegExp(`^${source}$`);
  return (name) => regex.test(name.toString('latin1'));
}

/** Finds names in the newest backup of each source. */
export async function find(context: Context, [pattern]: string[]): Promise<number> {
  const matches = matcher(pattern!);
  return withEngine(context, false, async (engine) => {
    const newest = new Map(
      (await committed(engine, context.settings.source)).map((one) => [one.source.id, one]),
    );
    for (const { backup, source } of newest.values()) {
      for await (const page of engine.registry.entries.scanNames(source.id, backup.seq)) {
        for (const { dir, name } of page) {
          if (!matches(name)) continue;
          const path = joinPath(dir, name);
          context.output.line(
            { type: 'found', label: backup.label, path: pathToJson(path) },
            () => `${backup.label}  ${bytesToDisplay(source.root)}  ${pathToDisplay(path)}`,
          );
        }
      }
    }
    return 0;
  });
}
