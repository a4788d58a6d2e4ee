import { committed, type FoundBackup } from '../../../libs/embedded/find-backup.ts';
import { bytesToDisplay, joinPath, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import { type Context, withReader } from '../context.ts';
import { findPattern } from '../find-pattern.ts';
import { rootToJson } from '../output.ts';

/** Finds paths in all backups; each once, with the newest backup of its source that holds it. */
export async function find(context: Context, [pattern]: string[]): Promise<number> {
  const { nameLike, matches } = findPattern(pattern!);
  return withReader(context, async (engine) => {
    const all = await committed(engine, context.settings.source);
    for (const backups of Map.groupBy(all, ({ source }) => source.id).values()) {
      const bySeq = new Map(backups.map((one) => [one.backup.seq, one]));
      const newest = Math.max(...bySeq.keys());
      const { id } = backups[0]!.source;
      for await (const page of engine.registry.entries.find(id, [...bySeq.keys()], nameLike)) {
        for (const { dir, name, seq } of page) {
          const path = joinPath(dir, name);
          if (matches(path)) print(context, bySeq.get(seq)!, path, seq < newest);
        }
      }
    }
    return 0;
  });
}

function print({ output }: Context, { backup, source }: FoundBackup, path: Buffer, deleted: boolean): void {
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
