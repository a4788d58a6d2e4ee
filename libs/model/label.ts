export type BackupKind = 'full' | 'differential';

const stamp = (time: Date): string =>
  time
    .toISOString()
    .replace(/[-:]/g, '')
    .replace(/\.\d+Z$/, 'Z');

/** A backup's label without the suffix that a collision gets; `baseline` is the label of the full it depends on. */
export function makeLabel(kind: BackupKind, time: Date, baseline: string | undefined): string {
  if (kind === 'full') return `${stamp(time)}-F`;
  return `${baseline}_${stamp(time)}-D`;
}

/** What a label becomes where it is taken, in order: label, label.2, label.3 …; from the `from`th one on. */
export const labelsFrom = (label: string, from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => (from + i === 1 ? label : `${label}.${from + i}`));

const WHOLE = /Z-[FD](\.\d+)?$/;

/** A text that is a whole label is no prefix of others: who names an expired backup must not get `….2` instead. */
export function isPrefixOf(text: string, label: string): boolean {
  return label.startsWith(text) && (!WHOLE.test(text) || label === text);
}
