import { setImmediate as turn } from 'node:timers/promises';
import type { CollectProblem } from '../collect/collector.ts';
import { TmError } from '../model/errors.ts';
import { joinPath, type TreePath } from '../model/tree-path.ts';
import { releaseFreedMemory } from '../posix/memory.ts';
import type { Gap } from '../watch/coverage.ts';
import type { GapLedger } from '../watch/ledger.ts';
import type { GapReason } from '../watch/ledger-format.ts';
import type { EventSource, FinalState, WatchBatch, WatchState } from '../watch/port.ts';
import { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import { DirtySet, type Taken } from './dirty-set.ts';
import { Gaps } from './gaps.ts';
import { planStep, type Standing } from './plan-step.ts';
import type {
  CommitReason,
  Committed,
  EventSources,
  MonitorEvents,
  SourceBackups,
  Started,
  Taking,
  Wish,
} from './port.ts';
import { RecoveryPoint } from './recovery-point.ts';
import { Sleeper } from './sleeper.ts';
import { Unread } from './unread.ts';

/** Milliseconds. */
export interface Timing {
  /** Between the beginnings of two micro-differentials, at least. */
  readonly everyMs: number;
  /** So long a path has to be quiet before it is taken. */
  readonly settleMs: number;
  /** So long after its first change a path is taken in any case. */
  readonly boundMs: number;
  /** Dirty paths that are kept apart; more of them are a gap. */
  readonly maxPaths: number;
  /** Between two signs of life in the ledger. */
  readonly heartbeatMs: number;
  /** Between two looks at the whole tree while not every directory can be watched. */
  readonly blindMs: number;
  /** Age of the oldest change that is in no backup, past which it is told. */
  readonly recoveryLimitMs?: number | undefined;
}

export interface MonitorDeps {
  readonly sources: EventSources;
  readonly backups: SourceBackups;
  /** Closed with the monitor. */
  readonly ledger: GapLedger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly timing: Timing;
  readonly events: MonitorEvents;
}

export interface MonitorStatus {
  readonly by: EventSource['kind'] | undefined;
  readonly state: 'starting' | 'watching' | 'reconciling' | 'retrying' | 'lost';
  /** Milliseconds; 0: every change is in a backup. */
  readonly recoveryPointMs: number;
  /** Milliseconds since 1970. */
  readonly oldestChange: number | undefined;
  /** Dirty paths. */
  readonly pending: number;
  readonly gaps: readonly GapReason[];
  readonly lastCommit: string | undefined;
  /** Why the last attempt failed; undefined when it did not. */
  readonly failure: string | undefined;
}

interface Asked {
  readonly wish: Wish;
  readonly resolve: (made: Committed) => void;
  readonly reject: (error: unknown) => void;
}

/** Number of the error code of what could not be read (TM1110). */
const UNREADABLE = 1110;

const GAP_OF: Record<Exclude<FinalState, 'closed'>, GapReason> = {
  'root-deleted': 'root-deleted',
  'root-replaced': 'root-replaced',
  unmounted: 'unmounted',
  failed: 'watch-failed',
};

/**
 * Watches one source: takes in what its event source notices, and has micro-differentials made of it. Whatever may have
 * been missed is a gap in the ledger until a look at the whole tree is committed. It never gives up: what fails is
 * tried again, and what it was to take stays dirty meanwhile.
 */
export class Monitor {
  readonly #deps: MonitorDeps;
  readonly #gaps: Gaps;
  readonly #dirty: DirtySet;
  readonly #sleeper: Sleeper;
  readonly #recovery: RecoveryPoint;
  readonly #failures: Backoff;
  readonly #asked: Asked[] = [];
  readonly #unread: Unread;
  #watch: Started | undefined;
  #startAt: number | undefined = 0;
  #retryAt = 0;
  #reconcileAt: number | undefined;
  #nextMicroAt = 0;
  /** What the clock said when it was last asked what to do. */
  #seen = 0;
  /** Not every directory is watched. */
  #isBlind = false;
  #isTold = false;
  #isReconciling = false;
  /** Since when the oldest of the changes waits that a backup under way takes. */
  #inFlight: number | undefined;
  #lastCommit: string | undefined;
  #failure: string | undefined;
  #stopHeart: (() => void) | undefined;
  #following: Promise<void> = Promise.resolve();
  #stopping = new AbortController().signal;

  constructor(deps: MonitorDeps) {
    this.#deps = deps;
    const { clock, ledger, events, timing } = deps;
    this.#gaps = new Gaps(ledger, clock, events);
    this.#dirty = new DirtySet(timing);
    this.#sleeper = new Sleeper(clock);
    this.#failures = new Backoff(deps.random);
    this.#unread = new Unread(clock, (paths) => this.#lookAgain(paths));
    this.#recovery = new RecoveryPoint(clock, timing.recoveryLimitMs, (isPassed, age) =>
      events.recoveryPoint?.(isPassed, age),
    );
  }

  /** Until the signal: then the backup under way is given up, and the ledger says that nobody watches any more. */
  async run(signal: AbortSignal): Promise<void> {
    this.#stopping = signal;
    const wake = () => this.#sleeper.wake();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) await this.#step();
    } finally {
      signal.removeEventListener('abort', wake);
      await this.#end();
    }
  }

  /** Has a backup made as soon as the one under way is over. */
  ask(wish: Wish): Promise<Committed> {
    const { promise, resolve, reject } = Promise.withResolvers<Committed>();
    this.#asked.push({ wish, resolve, reject });
    this.#sleeper.wake();
    return promise;
  }

  /** Has the whole tree looked at as soon as the backup under way is over: other rules hold from now on. */
  lookAtAll(): void {
    this.#reconcileSoon();
    this.#sleeper.wake();
  }

  /** All that happened before is taken into account in `status`. */
  async sync(): Promise<void> {
    await this.#watch?.source.sync();
    await turn();
  }

  get status(): MonitorStatus {
    return {
      by: this.#watch?.source.kind,
      state: this.#state(),
      recoveryPointMs: this.#recovery.age,
      oldestChange: this.#recovery.oldest,
      pending: this.#dirty.size,
      gaps: this.#gaps.reasons,
      lastCommit: this.#lastCommit,
      failure: this.#failure,
    };
  }

  #state(): MonitorStatus['state'] {
    if (this.#isReconciling) return 'reconciling';
    if (!this.#watch) return this.#failure === undefined ? 'starting' : 'lost';
    return this.#failure === undefined ? 'watching' : 'retrying';
  }

  #step(): Promise<void> {
    const step = planStep(this.#standing());
    switch (step.type) {
      case 'start':
        return this.#start();
      case 'request':
        return this.#answer(this.#asked.shift()!);
      case 'reconcile':
        return this.#reconcile();
      case 'micro':
        return this.#micro();
      case 'wait':
        return this.#sleeper.sleep(step.until);
    }
  }

  #standing(): Standing {
    const now = this.#deps.clock.now();
    if (now < this.#seen) this.#setBack(now);
    this.#seen = now;
    return {
      now,
      isAsked: this.#asked.length > 0,
      startAt: this.#startAt,
      retryAt: this.#retryAt,
      reconcileAt: this.#reconcileAt,
      readyAt: this.#dirty.readyAt(),
      nextMicroAt: this.#nextMicroAt,
    };
  }

  /** The clock was set back: nothing is put off for more than once again what it would have been. */
  #setBack(now: number): void {
    const by = this.#seen - now;
    if (this.#startAt !== undefined) this.#startAt -= by;
    if (this.#reconcileAt !== undefined) this.#reconcileAt -= by;
    this.#retryAt -= by;
    this.#nextMicroAt -= by;
    this.#dirty.notAfter(now);
    this.#follows();
  }

  /** Also in place of a source that still runs; whatever that one would have told is found by the reconcile. */
  async #start(): Promise<void> {
    const { clock, sources } = this.#deps;
    try {
      const started = await sources.start();
      const old = this.#watch;
      this.#watch = started;
      this.#startAt = undefined;
      this.#isBlind = false;
      this.#isTold = false;
      this.#gaps.started();
      this.#reconcileSoon();
      this.#beat();
      await old?.source.close();
      await this.#following;
      this.#following = this.#follow(started.source);
    } catch (error) {
      this.#startAt = clock.now() + this.#failed(error);
    }
  }

  /** Takes in all that the source notices, until it has ended. */
  async #follow(source: EventSource): Promise<void> {
    const isCurrent = (): boolean => this.#watch?.source === source;
    try {
      for (let batch = await source.next(); batch; batch = await source.next()) {
        if (isCurrent()) this.#take(batch);
      }
    } catch (error) {
      this.#deps.events.failed(error, 0);
    }
    if (isCurrent() && !this.#stopping.aborted) this.#lostSource('failed');
  }

  #take(batch: WatchBatch): void {
    const { isEmpty, hasCollapsed } = this.#dirty;
    this.#dirty.add(batch, this.#deps.clock.now());
    for (const state of batch.states) this.#noticed(state);
    if (this.#dirty.hasCollapsed && !hasCollapsed) this.#lose('overflow');
    this.#follows();
    if (isEmpty || batch.states.length > 0) this.#sleeper.wake();
  }

  #lookAgain(paths: readonly TreePath[]): void {
    this.#dirty.add({ entries: paths.map((path) => ({ path })), subtrees: [] }, this.#deps.clock.now());
    this.#follows();
    this.#sleeper.wake();
  }

  #noticed(state: WatchState): void {
    if (state === 'overflow' || state === 'mount-changed') this.#lose(state);
    else if (state === 'watch-limit') {
      this.#isBlind = true;
      this.#lose(state);
      this.#deps.events.failed(new TmError('TM1121'), 0);
    } else if (state !== 'closed') this.#lostSource(state);
    const { source } = this.#watch ?? {};
    if (state === 'mount-changed' && source && this.#hasBetter(source.kind)) this.#startAt = 0;
  }

  #hasBetter(kind: EventSource['kind']): boolean {
    try {
      return this.#deps.sources.hasBetter(kind);
    } catch {
      return false; // the root can't be opened just now: whoever watches it says so
    }
  }

  #lose(reason: GapReason): void {
    this.#gaps.lost(reason);
    this.#reconcileSoon();
  }

  #reconcileSoon(): void {
    this.#reconcileAt = this.#deps.clock.now();
    this.#follows();
  }

  #lostSource(state: Exclude<FinalState, 'closed'>): void {
    void this.#watch?.source.close().catch(() => {});
    this.#watch = undefined;
    this.#stopHeart?.();
    this.#gaps.lost(GAP_OF[state]);
    this.#startAt = this.#deps.clock.now() + this.#failed(new TmError('TM1122', state));
    this.#sleeper.wake();
  }

  async #reconcile(): Promise<void> {
    this.#isReconciling = true;
    try {
      await this.#lookAtAll('reconcile', (taking) => this.#deps.backups.reconcile(taking));
      this.#succeeded();
    } catch (error) {
      this.#failedBackup(error);
    } finally {
      this.#isReconciling = false;
      releaseFreedMemory(); // a full may have gone before; from here on little is needed
    }
  }

  /** All that is dirty, and every gap that is open as it begins, is over when it is committed. */
  async #lookAtAll<T extends Committed | undefined>(
    why: CommitReason,
    make: (taking: Taking) => Promise<T>,
  ): Promise<T> {
    const from = this.#deps.clock.now();
    const wasBlind = this.#isBlind;
    const { open } = this.#gaps;
    const taken = this.#dirty.takeAll();
    this.#reconcileAt = undefined; // what is lost meanwhile sets it again
    try {
      const made = await this.#make(why, taken, open, make);
      this.#gaps.closed(open, from, made?.backup.label);
      if (wasBlind) this.#stillBlind(from);
      this.#tellWatching();
      return made;
    } catch (error) {
      this.#reconcileAt = Math.min(from, this.#reconcileAt ?? from);
      throw error;
    } finally {
      this.#follows();
    }
  }

  /** Directories that can't be watched are looked at again and again. */
  #stillBlind(from: number): void {
    this.#gaps.lost('watch-limit', from);
    this.#reconcileAt ??= this.#deps.clock.now() + this.#deps.timing.blindMs;
  }

  #tellWatching(): void {
    if (this.#isTold || !this.#watch) return;
    this.#isTold = true;
    this.#deps.events.watching(this.#watch.source.kind, this.#watch.reason);
  }

  async #micro(): Promise<void> {
    const { clock, timing, backups } = this.#deps;
    const now = clock.now();
    this.#nextMicroAt = now + timing.everyMs;
    if (this.#dirty.hasCollapsed) return this.#reconcileSoon();
    const taken = this.#dirty.take(now);
    try {
      await this.#make('changes', taken, this.#gaps.open, (taking) => backups.micro(taken.dirty, taking));
      this.#succeeded();
    } catch (error) {
      if (error instanceof TmError && error.code === 'TM1012') this.#reconcileSoon();
      else this.#failedBackup(error);
    }
  }

  /** What was taken is dirty again where nothing comes of it. */
  async #make<T extends Committed | undefined>(
    why: CommitReason,
    taken: Taken,
    open: readonly Gap[],
    make: (taking: Taking) => Promise<T>,
  ): Promise<T> {
    const { events } = this.#deps;
    const gaps = [...new Set(open.map(({ reason }) => reason))].sort();
    this.#inFlight = taken.oldest;
    this.#follows();
    try {
      const onProblem = (problem: CollectProblem): void => {
        if (problem.code === UNREADABLE) this.#unread.add(joinPath(problem.dir, problem.name));
        events.problem(problem);
      };
      const made = await make({ gaps, onProblem, signal: this.#stopping });
      if (made) {
        this.#lastCommit = made.backup.label;
        events.committed(made, why, gaps);
      }
      return made;
    } catch (error) {
      this.#dirty.giveBack(taken);
      throw error;
    } finally {
      this.#inFlight = undefined;
      this.#follows();
    }
  }

  async #answer({ wish, resolve, reject }: Asked): Promise<void> {
    const { backups } = this.#deps;
    const signal = AbortSignal.any([wish.signal, this.#stopping]);
    const make = (taking: Taking) => backups.wished({ ...wish, signal }, taking.gaps);
    if (signal.aborted) return reject(new TmError('TM1508'));
    const isOurs = wish.excludes === undefined && wish.oneFileSystem === undefined;
    try {
      if (isOurs && this.#watch) resolve(await this.#lookAtAll('request', make));
      else {
        const nothing = new DirtySet(this.#deps.timing).takeAll();
        resolve(await this.#make('request', nothing, this.#gaps.open, make));
        if (this.#watch) this.#reconcileSoon(); // by other rules it may have left out what is watched
      }
      this.#succeeded();
    } catch (error) {
      reject(error);
    }
  }

  #succeeded(): void {
    this.#failures.succeeded();
    this.#failure = undefined;
  }

  #failedBackup(error: unknown): void {
    if (this.#stopping.aborted) return;
    this.#retryAt = this.#deps.clock.now() + this.#failed(error);
  }

  /** Tells each kind of failure once, until something works again. Gives how long to wait, in ms. */
  #failed(error: unknown): number {
    const ms = this.#failures.failed();
    const code = error instanceof TmError ? error.code : 'TM1099';
    if (code !== this.#failure && !this.#stopping.aborted) this.#deps.events.failed(error, ms);
    this.#failure = code;
    return ms;
  }

  #follows(): void {
    const times = [this.#dirty.oldest, this.#inFlight, this.#gaps.oldest].filter((one) => one !== undefined);
    this.#recovery.set(times.length === 0 ? undefined : Math.min(...times));
  }

  #beat(): void {
    this.#stopHeart?.();
    const { clock, timing } = this.#deps;
    const beat = (): void => {
      this.#gaps.alive();
      this.#stopHeart = clock.after(timing.heartbeatMs, beat);
    };
    this.#stopHeart = clock.after(timing.heartbeatMs, beat);
  }

  async #end(): Promise<void> {
    this.#stopHeart?.();
    this.#recovery.close();
    this.#unread.close();
    for (const { reject } of this.#asked.splice(0)) reject(new TmError('TM1508'));
    await this.#watch?.source.close();
    await this.#following;
    await this.#deps.backups.close();
    this.#gaps.close();
  }
}
