import { BlockKind } from '../../../libs/blocks/intake.ts';
import { findBackup } from '../../../libs/embedded/find-backup.ts';
import { type Context, withEngine } from '../context.ts';
import { parseTags } from '../tags.ts';

export async function tag(context: Context, [label, ...pairs]: string[]): Promise<number> {
  const changes = parseTags(pairs);
  return withEngine(context, false, async (engine) => {
    const { backup, source } = await findBackup(engine, label!, context.settings.source);
    const tags = Object.fromEntries(
      Object.entries({ ...backup.tags, ...changes }).filter(([, value]) => value !== ''),
    );
    const sealed = await engine.seal(Buffer.from(JSON.stringify({ tags })), BlockKind.run);
    const record = { kind: 'tag' as const, source: source.uid, sourceSeq: backup.seq, sealed: 0 };
    await engine.decide([record], [sealed.bytes], (head) =>
      engine.registry.backups.setTags(backup.id, tags, head),
    );
    context.output.line(
      { type: 'summary', label: backup.label, tags },
      () =>
        `${backup.label}: ${
          Object.entries(tags)
            .map(([key, value]) => `${key}=${value}`)
            .join(' ') || 'no tags'
        }`,
    );
    return 0;
  });
}
