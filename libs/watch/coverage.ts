import type { GapReason, LedgerRecord } from './ledger-format.ts';

/** So long what has ended is remembered: a year's review finds its year. */
const KEPT_MS = 400 * 24 * 3_600_000;
/** And so many closed gaps and ended runs at most, the newest ones: that they, with open ones, go into one report. */
const KEPT_ENDED = 4000;

/** Milliseconds since 1970 throughout. */
export interface Gap {
  readonly gap: number;
  readonly reason: GapReason;
  readonly from: number;
  /** When events came again, at the latest: when the reconcile that closed it began. Undefined while it is open. */
  readonly to?: number;
  readonly closedAt?: number;
  /** Label of the backup that closed it, where that is known. */
  readonly closedBy?: string;
}

export interface Span {
  readonly from: number;
  readonly to: number;
  /** `unwatched`: nobody was asked to watch. `unknown`: what was, is forgotten by now. */
  readonly kind: 'watched' | 'gap' | 'unwatched' | 'unknown';
  /** Of the gaps that the span lies in, by number; of an unknown one those that are not forgotten. */
  readonly gaps: readonly Gap[];
}

/** What the records of a ledger say. A gap begins where the last sign of life was, so gaps may begin in the past. */
export class Coverage {
  readonly #gaps = new Map<number, Gap>();
  #lastGap = 0;
  /** Stretches in which the watch ran; the last one may have no end yet. */
  readonly #runs: { from: number; to: number | undefined }[] = [];
  #lastSign: number | undefined;
  #forgottenUntil: number | undefined;

  constructor(records: Iterable<LedgerRecord> = []) {
    for (const record of records) this.add(record);
  }

  get gaps(): Gap[] {
    return [...this.#gaps.values()];
  }

  get openGaps(): Gap[] {
    return this.gaps.filter(({ closedAt }) => closedAt === undefined);
  }

  get nextGap(): number {
    return this.#lastGap + 1;
  }

  get isRunning(): boolean {
    const last = this.#runs.at(-1);
    return last !== undefined && last.to === undefined;
  }

  get run(): { readonly from: number; readonly lastSign: number } | undefined {
    const last = this.#runs.at(-1);
    return last && last.to === undefined
      ? { from: last.from, lastSign: this.#lastSign ?? last.from }
      : undefined;
  }

  /** The last moment at which the watch is known to have worked. */
  get lastSign(): number | undefined {
    return this.#lastSign;
  }

  add(record: LedgerRecord): void {
    switch (record.type) {
      case 'started':
        this.#end(this.#lastSign ?? record.at);
        this.#runs.push({ from: record.at, to: undefined });
        break;
      case 'stopped':
        this.#end(record.at);
        break;
      case 'opened':
        this.#gaps.set(record.gap, { gap: record.gap, reason: record.reason, from: record.at });
        this.#lastGap = Math.max(this.#lastGap, record.gap);
        return;
      case 'closed':
        this.#close(record);
        return;
      case 'forgotten':
        this.#forgottenUntil = Math.max(this.#forgottenUntil ?? record.at, record.at);
        this.#lastGap = Math.max(this.#lastGap, record.gap);
        return;
    }
    this.#lastSign = record.at;
  }

  /** One as it stands; numbers need not be those of this ledger. */
  take(gap: Gap): void {
    this.#gaps.set(++this.#lastGap, gap);
  }

  /**
   * Drops closed gaps and ended runs that are too old or too many; never an open gap, nor the run that goes on. Of the
   * time up to the last end that was dropped nothing is known from then on. False where there was nothing to drop.
   */
  forget(now: number): boolean {
    const ends = [...this.gaps.map(endOf), ...this.#runs.map(({ to }) => to)].filter(
      (end) => end !== undefined,
    );
    const tooMany = ends.sort((a, b) => b - a)[KEPT_ENDED];
    const limit = Math.max(now - KEPT_MS, tooMany ?? Number.NEGATIVE_INFINITY);
    const until = ends.find((end) => end <= limit);
    if (until === undefined) return false;
    const isOver = (end: number | undefined): boolean => end !== undefined && end <= until;
    for (const [number, gap] of this.#gaps) if (isOver(endOf(gap))) this.#gaps.delete(number);
    this.#runs.splice(0, Number.POSITIVE_INFINITY, ...this.#runs.filter(({ to }) => !isOver(to)));
    this.add({ type: 'forgotten', at: until, gap: this.#lastGap });
    return true;
  }

  /** As few as say all of it. */
  records(): LedgerRecord[] {
    const records: LedgerRecord[] = [];
    if (this.#forgottenUntil !== undefined)
      records.push({ type: 'forgotten', at: this.#forgottenUntil, gap: this.#lastGap });
    for (const { from, to } of this.#runs) {
      records.push({ type: 'started', at: from });
      if (to !== undefined) records.push({ type: 'stopped', at: to });
    }
    if (this.run && this.run.lastSign !== this.run.from)
      records.push({ type: 'alive', at: this.run.lastSign });
    return [...records, ...this.gaps.flatMap(recordsOf)];
  }

  /** Consecutive spans from `from` to `to`. Nothing counts as watched past `now`. */
  spans(from: number, to: number, now: number): Span[] {
    const end = Math.min(to, now);
    if (end <= from) return [];
    const cuts = new Set([from, end]);
    const edges = [...this.gaps, ...this.#runs].flatMap((one) => [one.from, one.to ?? end]);
    if (this.#forgottenUntil !== undefined) edges.push(this.#forgottenUntil);
    for (const edge of edges) if (edge > from && edge < end) cuts.add(edge);
    const moments = [...cuts].sort((a, b) => a - b);
    const spans: Span[] = [];
    for (let i = 0; i + 1 < moments.length; i++) append(spans, this.#span(moments[i]!, moments[i + 1]!));
    return spans;
  }

  #span(from: number, to: number): Span {
    const isIn = (one: { from: number; to?: number | undefined }): boolean =>
      one.from <= from && (one.to === undefined || one.to >= to);
    const gaps = this.gaps.filter(isIn);
    if (from < (this.#forgottenUntil ?? from)) return { from, to, kind: 'unknown', gaps };
    const kind = gaps.length > 0 ? 'gap' : this.#runs.some(isIn) ? 'watched' : 'unwatched';
    return { from, to, kind, gaps };
  }

  #close({ gap: number, from, at, by }: Extract<LedgerRecord, { type: 'closed' }>): void {
    const gap = this.#gaps.get(number);
    if (!gap || gap.closedAt !== undefined) return;
    // A millisecond at least: what was lost in the one in which the reconcile began shows as a gap too.
    const closed = { ...gap, to: Math.max(gap.from + 1, from), closedAt: at };
    this.#gaps.set(number, by === undefined ? closed : { ...closed, closedBy: by });
  }

  #end(at: number): void {
    const last = this.#runs.at(-1);
    if (last && last.to === undefined) last.to = Math.max(last.from, at);
  }
}

const endOf = ({ to, closedAt }: Gap): number | undefined =>
  closedAt === undefined ? undefined : Math.max(closedAt, to ?? closedAt);

function recordsOf({ gap, reason, from, to, closedAt, closedBy }: Gap): LedgerRecord[] {
  const opened: LedgerRecord = { type: 'opened', at: from, gap, reason };
  if (closedAt === undefined) return [opened];
  const by = closedBy === undefined ? {} : { by: closedBy };
  return [opened, { type: 'closed', at: closedAt, gap, from: to ?? from, ...by }];
}

/** Of what somebody else keeps of runs and gaps; only the last run may have no end. Before `forgottenUntil` nothing is known. */
export function coverageOf(
  runs: readonly { readonly from: number; readonly to: number | undefined }[],
  gaps: readonly Gap[],
  forgottenUntil?: number,
): Coverage {
  const coverage = new Coverage();
  if (forgottenUntil !== undefined) coverage.add({ type: 'forgotten', at: forgottenUntil, gap: 0 });
  for (const { from, to } of runs) {
    coverage.add({ type: 'started', at: from });
    if (to !== undefined) coverage.add({ type: 'stopped', at: to });
  }
  for (const gap of gaps) coverage.take(gap);
  return coverage;
}

function append(spans: Span[], span: Span): void {
  const last = spans.at(-1);
  const isSame =
    last?.kind === span.kind &&
    last.gaps.length === span.gaps.length &&
    last.gaps.every((gap, i) => gap === span.gaps[i]);
  if (last && isSame) spans[spans.length - 1] = { ...last, to: span.to };
  else spans.push(span);
}
