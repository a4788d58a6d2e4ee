import type { z } from 'zod';
import { type GapView, watchRoutes as routes, type WatchView } from '../contracts/api/watch.ts';
import { type Binding, bind } from '../http/binding.ts';
import type { WatchedGap, WatchHistory, WatchReport, WatchRow } from '../registry/port.ts';
import { tellRecoveryPoint, watchPolicyOf } from '../schedule/recovery-point.ts';
import { coverageOf, type Gap } from '../watch/coverage.ts';
import type { ControlParts } from './parts.ts';
import { sourceFor } from './scope.ts';

/** Runs and gaps that one page of a coverage is made of; more where so many reach over its beginning. */
const HISTORY = 200;
/** So long after its last sign of life a run counts as one that goes on. */
const SILENCE_MS = 90_000;

export function watchHandlers({ cell: { registry }, defaultPolicy }: ControlParts): Binding[] {
  return [
    bind(routes.reportWatch, async ({ principal, params, body }) => {
      const source = await sourceFor(registry, principal, params.id);
      const now = await registry.now();
      await registry.watches.report(source.id, reportOf(body, now), now);
      const {
        everyMs = null,
        recoveryLimitMs,
        excludes,
      } = await watchPolicyOf(registry, source, defaultPolicy);
      const age = { ageMs: body.recoveryPointMs, limitMs: recoveryLimitMs };
      await tellRecoveryPoint(registry, source.id, age);
      return { everyMs, recoveryLimitMs: recoveryLimitMs ?? null, excludes: [...excludes] };
    }),
    bind(routes.coverage, async ({ principal, params, query }) => {
      const source = await sourceFor(registry, principal, params.id);
      const [from, to] = [new Date(query.from), new Date(query.to)];
      const now = await registry.now();
      let limit = HISTORY;
      let history = await registry.watches.history(source.id, from, to, limit);
      while (cutOf(history, limit, to) <= from.getTime()) {
        limit *= 4; // more than that reach over the beginning
        history = await registry.watches.history(source.id, from, to, limit);
      }
      const watch = (await registry.watches.list([source.id])).get(source.id);
      const isAlive = watch?.kind !== undefined && isFresh(watch.seenAt, now);
      return coveragePage(history, { from, to, cut: cutOf(history, limit, to), now, isAlive });
    }),
  ];
}

const isFresh = (seenAt: Date, now: Date): boolean => now.getTime() - seenAt.getTime() < SILENCE_MS;

const dateOf = (text: string | null): Date | undefined => (text === null ? undefined : new Date(text));

type ReportBody = z.output<typeof routes.reportWatch.body>;

/** The age is the agent's to say, the time is the registry's: their clocks may differ. */
function reportOf({ by, state, pending, recoveryPointMs, run, gaps }: ReportBody, now: Date): WatchReport {
  return {
    kind: by ?? undefined,
    state,
    pending,
    oldestChange: recoveryPointMs > 0 ? new Date(now.getTime() - recoveryPointMs) : undefined,
    run: run ? { startedAt: new Date(run.startedAt), seenAt: new Date(run.seenAt) } : undefined,
    gaps: gaps.map(({ openedAt, endedAt, closedAt, ...gap }) => ({
      ...gap,
      openedAt: new Date(openedAt),
      endedAt: dateOf(endedAt),
      closedAt: dateOf(closedAt),
    })),
  };
}

export const watchView = (row: WatchRow, now: Date): WatchView => ({
  by: (row.kind as WatchView['by'] | undefined) ?? null,
  state: row.state,
  pending: row.pending,
  oldestChange: row.oldestChange?.toISOString() ?? null,
  recoveryPoint: row.oldestChange
    ? Math.max(0, Math.round((now.getTime() - row.oldestChange.getTime()) / 1000))
    : 0,
  exceeded: row.isExceeded,
  seenAt: row.seenAt.toISOString(),
  gaps: row.openGaps.map(({ reason, since, count }) => ({ reason, since: since.toISOString(), count })),
});

interface Period {
  readonly from: Date;
  readonly to: Date;
  /** Where the page ends. */
  readonly cut: number;
  readonly now: Date;
  /** The last run goes on. */
  readonly isAlive: boolean;
}

/** Until when the history says all: where not all of the period was read, up to the last thing that was. */
function cutOf({ runs, gaps }: WatchHistory, limit: number, to: Date): number {
  const ends = [runs, gaps].flatMap((list) => (list.length < limit ? [] : [startOf(list.at(-1)!)]));
  return Math.min(...ends, to.getTime());
}

function coveragePage({ runs, gaps, forgottenUntil }: WatchHistory, { from, to, cut, now, isAlive }: Period) {
  const isWhole = cut >= to.getTime();
  const last = runs.at(-1);
  const coverage = coverageOf(
    runs.map((run) => ({
      from: run.startedAt.getTime(),
      to: isAlive && run === last && isFresh(run.seenAt, now) ? undefined : run.seenAt.getTime(),
    })),
    gaps.map(coveredGap),
    forgottenUntil?.getTime(),
  );
  const known = new Map(coverage.gaps.map((gap, i) => [gap, i]));
  const spans = coverage.spans(from.getTime(), isWhole ? to.getTime() : cut, now.getTime());
  return {
    spans: spans.map((span) => ({
      from: new Date(span.from).toISOString(),
      to: new Date(span.to).toISOString(),
      kind: span.kind,
      gaps: span.gaps.map((gap) => known.get(gap)!),
    })),
    gaps: gaps.map(gapView),
    next: isWhole ? null : new Date(cut).toISOString(),
  };
}

const startOf = (one: { readonly startedAt: Date } | { readonly openedAt: Date }): number =>
  ('startedAt' in one ? one.startedAt : one.openedAt).getTime();

const coveredGap = ({ gap, reason, openedAt, endedAt, closedAt }: WatchedGap): Gap => ({
  gap,
  reason: reason as Gap['reason'],
  from: openedAt.getTime(),
  ...(endedAt && { to: endedAt.getTime() }),
  ...(closedAt && { closedAt: closedAt.getTime() }),
});

const gapView = ({ openedAt, endedAt, closedAt, ...gap }: WatchedGap): GapView => ({
  ...gap,
  openedAt: openedAt.toISOString(),
  endedAt: endedAt?.toISOString() ?? null,
  closedAt: closedAt?.toISOString() ?? null,
});
