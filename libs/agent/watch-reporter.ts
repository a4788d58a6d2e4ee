import { watchRoutes } from '../contracts/api/watch.ts';
import type { HttpClient } from '../http/client.ts';
import type { MonitorStatus } from '../monitor/monitor.ts';
import type { Gap } from '../watch/coverage.ts';
import type { GapLedger } from '../watch/ledger.ts';

/** Milliseconds between two reports when nothing happens, and at least between two when much does. */
const QUIET_MS = 30_000;
const BUSY_MS = 1000;
/** So long the last report may take. */
const LAST_MS = 3000;
/** The newest ones of more are told later. */
const MAX_GAPS = 5000;

export interface ToldPolicy {
  /** Milliseconds between two micro-differentials; undefined: it says nothing. */
  readonly everyMs: number | undefined;
  /** Undefined: nothing is told of them. */
  readonly excludes: readonly string[] | undefined;
}

export interface WatchReporterDeps {
  readonly control: Pick<HttpClient, 'call'>;
  /** Undefined before the first backup was opened. */
  readonly source: () => string | undefined;
  readonly status: () => MonitorStatus;
  readonly ledger: Pick<GapLedger, 'gaps' | 'run'>;
  /** What the policy says, each time that a report is answered. */
  readonly onPolicy: (policy: ToldPolicy) => void;
}

/** Tells the control plane how a folder is watched. A report that gets lost is made up for by the next one. */
export class WatchReporter {
  readonly #deps: WatchReporterDeps;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();
  #lastAt = 0;
  /** Gaps that were closed up to then are told. */
  #toldUpTo = 0;
  #isClosed = false;
  readonly #closing = new AbortController();

  constructor(deps: WatchReporterDeps) {
    this.#deps = deps;
    this.#in(BUSY_MS);
  }

  /** Something has changed that others want to know soon. */
  changed(): void {
    this.#in(Math.min(BUSY_MS, Math.max(0, this.#lastAt + BUSY_MS - Date.now())));
  }

  /** Says that nobody watches any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#sending;
    await this.#send({ by: undefined, isWatching: false, signal: AbortSignal.timeout(LAST_MS) }).catch(
      () => {},
    );
  }

  #in(ms: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#sending = this.#report();
    }, ms).unref();
  }

  async #report(): Promise<void> {
    this.#lastAt = Date.now();
    const { by } = this.#deps.status();
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(QUIET_MS)]);
    await this.#send({ by, isWatching: true, signal }).catch(() => {}); // it can't be reached: it sees that by itself
    this.#in(QUIET_MS);
  }

  async #send({
    by,
    isWatching,
    signal,
  }: {
    by: MonitorStatus['by'];
    isWatching: boolean;
    signal: AbortSignal;
  }): Promise<void> {
    const { control, source, status, ledger, onPolicy } = this.#deps;
    const id = source();
    if (id === undefined) return;
    const { state, pending, recoveryPointMs } = status();
    const now = Date.now();
    const run = isWatching ? ledger.run : undefined;
    const gaps = ledger.gaps.filter((gap) => gap.closedAt === undefined || gap.closedAt >= this.#toldUpTo);
    const body = {
      by: by ?? null,
      state,
      pending,
      recoveryPointMs: Math.max(0, Math.round(recoveryPointMs)),
      run: run ? { startedAt: isoOf(run.from), seenAt: isoOf(Math.max(run.lastSign, now)) } : null,
      gaps: gaps.slice(0, MAX_GAPS).map(viewOf),
    };
    const reply = await control.call(watchRoutes.reportWatch, { params: { id }, body }, { signal });
    if (gaps.length <= MAX_GAPS) this.#toldUpTo = now;
    onPolicy({ everyMs: reply.everyMs ?? undefined, excludes: reply.excludes });
  }
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

const viewOf = ({ gap, reason, from, to, closedAt }: Gap) => ({
  gap,
  reason,
  openedAt: isoOf(from),
  endedAt: to === undefined ? null : isoOf(to),
  closedAt: closedAt === undefined ? null : isoOf(closedAt),
});
