import { committed } from '../../../libs/embedded/find-backup.ts';
import { type Context, withReader } from '../context.ts';
import { formatBytes, rootToDisplay, rootToJson } from '../output.ts';

export async function backups(context: Context, [dir]: string[]): Promise<number> {
  return withReader(context, async (engine) => {
    const all = await committed(engine, dir ?? context.settings.source);
    const labels = new Map(all.map(({ backup }) => [`${backup.sourceId}:${backup.seq}`, backup.label]));
    for (const { backup, source } of all) {
      const baseline =
        backup.kind === 'full' ? null : (labels.get(`${backup.sourceId}:${backup.baselineSeq}`) ?? null);
      const time = (backup.committedAt ?? backup.openedAt).toISOString();
      context.output.line(
        {
          type: 'backup',
          label: backup.label,
          kind: backup.kind,
          baseline,
          source: rootToJson(source.root),
          agent: source.agent,
          seq: backup.seq,
          time,
          tags: backup.tags,
          pinned: backup.pinned,
          ...backup.counts,
        },
        () => {
          const c = backup.counts;
          const tags = Object.entries(backup.tags).map(([key, value]) => `${key}=${value}`);
          const marks = [...(backup.pinned ? ['pinned'] : []), ...tags].join(' ');
          return `${backup.label}  ${time.slice(0, 19).replace('T', ' ')}  ${rootToDisplay(source.root)}  ${c?.files} files ${formatBytes(c?.bytes ?? 0)}  +${c?.added} ~${(c?.changed ?? 0) + (c?.metadata ?? 0)} -${c?.deleted}  ${formatBytes(c?.newBytes ?? 0)} new  ${marks}`.trimEnd();
        },
      );
    }
    if (all.length === 0)
      context.output.status('there are no backups yet; make one with `tidemark backup DIR`');
    return 0;
  });
}
