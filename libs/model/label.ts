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

/** The first free one of label, label.2, label.3 … */
export function freeLabel(label: string, taken: (label: string) => boolean): string {
  if (!taken(label)) return label;
  let n = 2;
  while (taken(`${label}.${n}`)) n++;
  return `${label}.${n}`;
}

const WHOLE = /Z-[FD](\.\d+)?$/;

/** A text that is a whole label is no prefix of others: who names an expired backup must not get `….2` instead. */
export function isPrefixOf(text: string, label: string): boolean {
  return label.startsWith(text) && (!WHOLE.test(text) || label === text);
}
