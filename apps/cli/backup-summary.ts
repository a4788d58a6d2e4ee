import type { BackupInfo } from '../../libs/model/backup.ts';
import { formatBytes } from './display.ts';

/** What is told of a backup, whoever made it. */
export type Told = Pick<BackupInfo, 'label' | 'kind' | 'counts'>;

/** The fields of a backup that `backup` ends with, and `watch` prints for each. */
export const summaryFields = ({ label, kind, counts }: Told, baseline: string | null) => ({
  label,
  kind,
  baseline,
  ...counts,
});

export function summaryText({ kind, label, counts: c }: Told, seconds: number): string {
  if (!c) return label;
  const problems = c.problems > 0 ? `, ${c.problems} with problems` : '';
  return [
    `${kind === 'full' ? 'Full' : 'Differential'} backup ${label}`,
    `  ${c.files} files, ${formatBytes(c.bytes)}: ${c.added} added, ${c.changed} changed, ${c.metadata} metadata only, ${c.deleted} deleted, ${c.unchanged} unchanged${problems}`,
    `  ${formatBytes(c.newBytes)} new, ${formatBytes(c.storedBytes)} stored, ${seconds.toFixed(1)} s`,
  ].join('\n');
}
