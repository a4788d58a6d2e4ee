import { findBackup } from '../../../libs/catalogue/find-backup.ts';
import { stillCommitted } from '../../../libs/cell/still-committed.ts';
import { embeddedReader } from '../../../libs/embedded/embedded-reader.ts';
import { type Context, withEngine } from '../context.ts';

export async function pin(context: Context, [label]: string[], options: { off?: boolean }): Promise<number> {
  const pinned = options.off !== true;
  return withEngine(context, false, async (engine) => {
    const { backup, source } = await findBackup(embeddedReader(engine), label!, context.settings.source);
    const { backups } = engine.registry;
    await backups.deciding(source.id, async () => {
      await stillCommitted(engine, backup);
      const record = { kind: 'pin' as const, source: source.uid, sourceSeq: backup.seq, pinned };
      await engine.decide([record], [], (head) => backups.setPinned(backup.id, pinned, head));
    });
    context.output.line(
      { type: 'summary', label: backup.label, pinned },
      () => `${backup.label} is ${pinned ? 'pinned' : 'not pinned'}`,
    );
    return 0;
  });
}
