/** Times in milliseconds since 1970. */
export interface Standing {
  readonly now: number;
  /** Somebody asked for a backup. */
  readonly isAsked: boolean;
  /** When to try to start an event source; undefined while there is one. */
  readonly startAt: number | undefined;
  /** After a failure nothing is tried before. */
  readonly retryAt: number;
  /** When the whole tree has to be looked at. */
  readonly reconcileAt: number | undefined;
  /** When a dirty path can be taken first. */
  readonly readyAt: number | undefined;
  /** When a micro-differential may be made again, at the earliest. */
  readonly nextMicroAt: number;
}

export type Step =
  | { readonly type: 'request' | 'start' | 'reconcile' | 'micro' }
  /** Undefined: until something happens. */
  | { readonly type: 'wait'; readonly until: number | undefined };

const waitFor = (...times: (number | undefined)[]): Step => {
  const known = times.filter((time) => time !== undefined);
  return { type: 'wait', until: known.length === 0 ? undefined : Math.min(...known) };
};

/** What a monitor does next. Without a source it makes no backups by itself: it wouldn't know what it misses. */
export function planStep(standing: Standing): Step {
  const { now, isAsked, startAt, retryAt, reconcileAt, readyAt, nextMicroAt } = standing;
  if (isAsked) return { type: 'request' };
  if (startAt !== undefined) return startAt <= now ? { type: 'start' } : waitFor(startAt);
  const microAt = readyAt === undefined ? undefined : Math.max(readyAt, nextMicroAt);
  if (reconcileAt === undefined && microAt === undefined) return waitFor();
  if (retryAt > now) return waitFor(retryAt);
  if (reconcileAt !== undefined && reconcileAt <= now) return { type: 'reconcile' };
  if (microAt !== undefined && microAt <= now) return { type: 'micro' };
  return waitFor(reconcileAt, microAt);
}
