import { committed } from '../../../libs/catalogue/find-backup.ts';
import type { FoundBackup } from '../../../libs/catalogue/port.ts';
import type { BackupInfo } from '../../../libs/model/backup.ts';
import { gapWords } from '../../../libs/watch/gap-words.ts';
import { type Context, withReader } from '../context.ts';
import { formatBytes, rootToDisplay, rootToJson } from '../output.ts';

export async function backups(context: Context, [dir]: string[]): Promise<number> {
  return withReader(context, async (reader) => {
    const all = await committed(reader, dir ?? context.settings.source);
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
          gaps: backup.gaps ?? null,
          ...backup.counts,
        },
        () => {
          const c = backup.counts;
          const tags = Object.entries(backup.tags).map(([key, value]) => `${key}=${value}`);
          const marks = [...(backup.pinned ? ['pinned'] : []), ...gapMark(backup), ...tags].join(' ');
          return `${backup.label}  ${time.slice(0, 19).replace('T', ' ')}  ${rootToDisplay(source.root)}  ${c?.files} files ${formatBytes(c?.bytes ?? 0)}  +${c?.added} ~${(c?.changed ?? 0) + (c?.metadata ?? 0)} -${c?.deleted}  ${formatBytes(c?.newBytes ?? 0)} new  ${marks}`.trimEnd();
        },
      );
    }
    explainGaps(context, all);
    if (all.length === 0)
      context.output.status('there are no backups yet; make one with `tidemark backup DIR`');
    return 0;
  });
}

const gapMark = ({ gaps = [] }: BackupInfo): string[] => (gaps.length > 0 ? [`gap:${gaps.join(',')}`] : []);

function explainGaps({ output }: Context, all: readonly FoundBackup[]): void {
  const reasons = new Set(all.flatMap(({ backup }) => backup.gaps ?? []));
  if (reasons.size === 0) return;
  output.status(
    'gap: changes may have gone unnoticed when the backup began; `tidemark coverage` says since when',
  );
  for (const reason of [...reasons].sort()) output.status(`  ${reason}: ${gapWords(reason)}`);
}
