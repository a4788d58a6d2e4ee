import { z } from 'zod';
import { defineRoute } from '../../http/route.ts';
import { moment, uuid, whole } from './wire.ts';

/** Of gaps and states, as libs/watch and libs/monitor name them. */
const word = z.string().regex(/^[a-z-]{1,32}$/);
const MAX_INT = 2 ** 31 - 1;
/** A thousand years. */
const MAX_AGE_MS = 31_557_600_000_000;
const source = z.enum(['inotify', 'fanotify', 'poll']);
const byId = z.object({ id: uuid });

/** A span in which changes may have gone unnoticed; times by the clock of who watches. */
export const GapView = z.object({
  /** Its number in the ledger of who watches. */
  gap: whole.positive().max(MAX_INT),
  reason: word,
  openedAt: moment,
  /** From when on nothing was missed any more: when the reconcile that closed it began. */
  endedAt: moment.nullable(),
  closedAt: moment.nullable(),
});
export type GapView = z.infer<typeof GapView>;

/** How a source is watched, as its agent last said. */
export const WatchView = z.object({
  /** The event source; null while there is none. */
  by: source.nullable(),
  state: word,
  /** Paths that wait to be taken. */
  pending: whole,
  /** The oldest change that no backup has yet, and how old it is now; null and 0 where there is none. */
  oldestChange: moment.nullable(),
  recoveryPoint: whole,
  /** That is past the policy's limit. */
  exceeded: z.boolean(),
  /** When the agent last said so. */
  seenAt: moment,
  /** Open ones by their reason, the oldest first. */
  gaps: z.array(z.object({ reason: word, since: moment, count: whole })),
});
export type WatchView = z.infer<typeof WatchView>;

const CoverageSpan = z.object({
  from: moment,
  to: moment,
  /** `unwatched`: nobody was asked to watch, or nobody said that he did. `unknown`: it is forgotten by now. */
  kind: z.enum(['watched', 'gap', 'unwatched', 'unknown']),
  /** Which of `gaps` it lies in. */
  gaps: z.array(whole),
});

export const watchRoutes = {
  reportWatch: defineRoute({
    method: 'PUT',
    path: '/v1/sources/:id/watch',
    roles: ['agent'],
    summary: 'What who watches says: state, waiting changes, gaps. Gives what the policy says of watching',
    params: byId,
    body: z.object({
      by: source.nullable(),
      state: word,
      pending: whole.max(MAX_INT),
      /** Milliseconds: age of the oldest change that no backup has yet; 0: there is none. */
      recoveryPointMs: whole.max(MAX_AGE_MS),
      /** Since when it watches, and the last sign of life; null while nobody watches. */
      run: z.object({ startedAt: moment, seenAt: moment }).nullable(),
      /** All that are open, and those that were closed since the last report. One that is missing here counts as closed. */
      gaps: z.array(GapView).max(5000),
    }),
    reply: z.object({
      /** Milliseconds between two micro-differentials, and the limit of the recovery point; null: the policy has none. */
      everyMs: whole.nullable(),
      recoveryLimitMs: whole.nullable(),
      /** What the policy leaves out. */
      excludes: z.array(z.string()).optional(),
    }),
  }),
  coverage: defineRoute({
    method: 'GET',
    path: '/v1/sources/:id/coverage',
    roles: ['reader', 'agent'],
    beside: true,
    summary: 'When a source was watched, and when changes may have gone unnoticed',
    params: byId,
    query: z.object({ from: moment, to: moment }),
    reply: z.object({
      spans: z.array(CoverageSpan),
      gaps: z.array(GapView),
      /** `from` of the next page; null on the last one. */
      next: moment.nullable(),
    }),
  }),
};
