import type { Period } from '../../../libs/catalogue/backup-reader.ts';
import { findSource } from '../../../libs/catalogue/find-backup.ts';
import type { CatalogueSource } from '../../../libs/catalogue/port.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { parseTime, TIME_FORMS } from '../../../libs/model/parse-time.ts';
import type { Gap, Span } from '../../../libs/watch/coverage.ts';
import { gapWords } from '../../../libs/watch/gap-words.ts';
import { type Context, withReader } from '../context.ts';
import { formatDuration } from '../display.ts';
import { rootToDisplay, rootToJson } from '../output.ts';

interface Options {
  readonly from?: string;
  readonly to?: string;
}

const DAY_MS = 24 * 3_600_000;

/** When folders were watched, and when changes may have gone unnoticed. */
export async function coverage(context: Context, [dir]: string[], options: Options): Promise<number> {
  const period = periodOf(options, new Date());
  const name = dir ?? context.settings.source;
  return withReader(context, async (reader) => {
    const asked = name === undefined ? undefined : await findSource(reader, name);
    const sources = asked ? [asked] : await reader.catalogue.sources();
    let shown = 0;
    const gaps = new Set<Gap>();
    for (const source of sources) {
      const spans = await reader.coverage(source, period);
      if (!asked && spans.every(({ kind }) => kind === 'unwatched')) continue;
      shown++;
      for (const span of spans) for (const gap of span.gaps) gaps.add(gap);
      print(context, source, spans, period);
    }
    const { from, to } = period;
    const open = [...gaps].filter(({ closedAt }) => closedAt === undefined).length;
    context.output.line({ type: 'summary', from, to, sources: shown, gaps: gaps.size, openGaps: open }, () =>
      shown === 0
        ? 'No folder was watched in this time; `tidemark watch DIR` does it.'
        : `${counted(gaps.size, 'gap')}, ${open === 0 ? 'none' : open} of them open.`,
    );
    return 0;
  });
}

/** Throws TM1002 for what is no time, or no period. */
function periodOf({ from, to }: Options, now: Date): Period {
  const end = to === undefined ? now : timeOf('--to', to);
  const begin = from === undefined ? new Date(end.getTime() - DAY_MS) : timeOf('--from', from);
  if (begin >= end)
    throw new TmError('TM1002', `--from ${from ?? begin.toISOString()}: it is not before --to`);
  return { from: begin, to: end };
}

function timeOf(option: string, text: string): Date {
  const time = parseTime(text);
  if (!time) throw new TmError('TM1002', `${option} ${text}: expected is ${TIME_FORMS}`);
  return time;
}

function print(
  { output }: Context,
  { root, agent }: CatalogueSource,
  spans: readonly Span[],
  period: Period,
): void {
  const named = { source: rootToJson(root), agent };
  const seconds = { watched: 0, gap: 0, unwatched: 0, unknown: 0 };
  for (const { kind, from, to } of spans) seconds[kind] += (to - from) / 1000;
  const total = seconds.watched + seconds.gap + seconds.unwatched + seconds.unknown;
  const share = total === 0 ? 0 : seconds.watched / total;
  const knownFrom = iso(spans.findLast(({ kind }) => kind === 'unknown')?.to);
  const { from, to } = period;
  output.line({ type: 'coverage', ...named, ...seconds, share, from, to, knownFrom }, () => {
    const percent = (Math.floor(share * 1000) / 10).toFixed(1);
    const gap = seconds.gap > 0 ? `, ${formatDuration(seconds.gap)} in gaps` : '';
    const unknown = seconds.unknown > 0 ? `, ${formatDuration(seconds.unknown)} not known any more` : '';
    return `${agent}:${rootToDisplay(root)}  watched ${percent} % of ${formatDuration(total)}${gap}${unknown}`;
  });
  for (const span of spans)
    output.line({ type: 'span', ...named, ...spanJson(span) }, () => `  ${spanText(span)}`);
}

const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

const spanJson = ({ kind, from, to, gaps }: Span) => ({
  kind,
  from: iso(from),
  to: iso(to),
  gaps: gaps.map(({ gap, reason, from: opened, closedAt, closedBy }) => ({
    gap,
    reason,
    opened: iso(opened),
    closed: iso(closedAt),
    by: closedBy ?? null,
  })),
});

function spanText({ kind, from, to, gaps }: Span): string {
  const kinds =
    kind === 'gap' ? [] : [kind === 'unknown' ? `not known before ${clock(to)}: forgotten` : kind];
  const what = [...kinds, ...gaps.map(gapText)].join('; ');
  return `${clock(from)}  ${clock(to)} UTC  ${formatDuration((to - from) / 1000).padStart(9)}  ${what}`;
}

function gapText({ gap, reason, closedAt, closedBy }: Gap): string {
  const end =
    closedAt === undefined
      ? 'still open'
      : `closed ${clock(closedAt)} by ${closedBy ?? 'a look at the whole folder'}`;
  return `gap ${gap}: ${gapWords(reason)}; ${end}`;
}

const clock = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
