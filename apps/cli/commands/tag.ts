import { BlockKind } from '../../../libs/blocks/intake.ts';
import { findBackup } from '../../../libs/catalogue/find-backup.ts';
import type { FoundBackup } from '../../../libs/catalogue/port.ts';
import { stillCommitted } from '../../../libs/cell/still-committed.ts';
import { embeddedReader } from '../../../libs/embedded/embedded-reader.ts';
import type { Engine } from '../../../libs/embedded/engine.ts';
import { type Context, withEngine } from '../context.ts';
import { parseTags } from '../tags.ts';

type Tags = Record<string, string>;

export async function tag(context: Context, [label, ...pairs]: string[]): Promise<number> {
  const changes = parseTags(pairs);
  return withEngine(context, false, async (engine) => {
    const found = await findBackup(embeddedReader(engine), label!, context.settings.source);
    const tags = await engine.registry.backups.deciding(found.source.id, () => retag(engine, found, changes));
    context.output.line(
      { type: 'summary', label: found.backup.label, tags },
      () =>
        `${found.backup.label}: ${
          Object.entries(tags)
            .map(([key, value]) => `${key}=${value}`)
            .join(' ') || 'no tags'
        }`,
    );
    return 0;
  });
}

/** Joins the changes to the tags as they are now; an empty value removes a tag. */
async function retag(engine: Engine, { backup, source }: FoundBackup, changes: Tags): Promise<Tags> {
  const before = await stillCommitted(engine, backup);
  const tags = Object.fromEntries(
    Object.entries({ ...before.tags, ...changes }).filter(([, value]) => value !== ''),
  );
  const sealed = await engine.seal(Buffer.from(JSON.stringify({ tags })), BlockKind.run);
  const record = { kind: 'tag' as const, source: source.uid, sourceSeq: backup.seq, sealed: 0 };
  await engine.decide([record], [sealed.bytes], (head) =>
    engine.registry.backups.setTags(backup.id, tags, head),
  );
  return tags;
}
