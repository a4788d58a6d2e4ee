import { sameContent } from '../../../libs/calculate/delta-calculator.ts';
import { type FoundBackup, findBackup } from '../../../libs/embedded/find-backup.ts';
import { decodeState } from '../../../libs/model/entry.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { joinPath, pathToDisplay, pathToJson } from '../../../libs/model/tree-path.ts';
import type { EntryVersion } from '../../../libs/registry/port.ts';
import { type Context, withReader } from '../context.ts';

function opOf(
  before: EntryVersion | undefined,
  after: EntryVersion | undefined,
): 'added' | 'deleted' | 'metadata' | 'changed' {
  if (!before) return 'added';
  if (!after) return 'deleted';
  return sameContent(decodeState(before.state), decodeState(after.state)) ? 'metadata' : 'changed';
}

/** The seqs to compare: A and B, or A's baseline and A. */
function sides(a: FoundBackup, b: FoundBackup | undefined): [number, number] {
  if (!b) return [a.backup.baselineSeq, a.backup.seq];
  if (a.source.id !== b.source.id) throw new TmError('TM1001', 'the two backups are of different folders');
  return [a.backup.seq, b.backup.seq];
}

export async function diff(context: Context, [labelA, labelB]: string[]): Promise<number> {
  return withReader(context, async (engine) => {
    const a = await findBackup(engine, labelA!, context.settings.source);
    const b = labelB === undefined ? undefined : await findBackup(engine, labelB, context.settings.source);
    const [from, to] = sides(a, b);
    for await (const page of engine.registry.entries.changes(a.source.id, from, to)) {
      for (const { key, before, after } of page) {
        const op = opOf(before, after);
        const path = key.name.length === 0 ? key.dir : joinPath(key.dir, key.name);
        context.output.line(
          { type: 'change', op, path: pathToJson(path) },
          () => `${op.padEnd(8)} ${pathToDisplay(path)}`,
        );
      }
    }
    return 0;
  });
}
