import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { BackupInfo } from '../model/backup.ts';
import { fromSlashes, toSlashes } from '../model/tree-path.ts';
import { GapLedger } from '../watch/ledger.ts';
import type { DirtySubtree, EventSource, WatchBatch, WatchState } from '../watch/port.ts';
import type { Clock } from './clock.ts';
import type { Dirty } from './dirty.ts';
import { Monitor, type Timing } from './monitor.ts';
import type { Committed, EventSources, SourceBackups, Started, Taking, Wish } from './port.ts';

/** Time that stands still until a test moves it. */
class ScriptedClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  /** How often a timer rang. */
  rung = 0;

  now = (): number => this.#now;

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** The time of day becomes another one; timers go by what passes. */
  set(now: number): void {
    for (const timer of this.#timers) timer.at += now - this.#now;
    this.#now = now;
  }

  /** Rings what is due on the way, in order, and lets everybody finish what they do then. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      this.rung++;
      next.callback();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Everybody who could go on has done so. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

export class ScriptedSource implements EventSource {
  readonly kind: EventSource['kind'];
  #batches: WatchBatch[] = [];
  #waiting: ((batch: WatchBatch | undefined) => void) | undefined;
  hasEnded = false;

  constructor(kind: EventSource['kind'] = 'inotify') {
    this.kind = kind;
  }

  next(): Promise<WatchBatch | undefined> {
    const batch = this.#batches.shift();
    if (batch || this.hasEnded) return Promise.resolve(batch);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  sync = (): Promise<void> => settled();

  async close(): Promise<void> {
    if (!this.hasEnded) this.end('closed');
  }

  /** These paths have changed. */
  changed(...paths: string[]): Promise<void> {
    return this.tell({ entries: paths.map((path) => ({ path: fromSlashes(path) })) });
  }

  subtree(path: string, reason: DirtySubtree['reason']): Promise<void> {
    return this.tell({ subtrees: [{ path: fromSlashes(path), reason }] });
  }

  state(...states: WatchState[]): Promise<void> {
    return this.tell({ states });
  }

  end(state: WatchState): Promise<void> {
    this.hasEnded = true;
    return this.tell({ states: [state] });
  }

  async tell(batch: Partial<WatchBatch>): Promise<void> {
    this.#batches.push({ entries: [], subtrees: [], states: [], ...batch });
    if (this.#waiting) this.#hand(this.#batches.shift());
    await settled();
    if (this.hasEnded) this.#hand(undefined);
    await settled();
  }

  #hand(batch: WatchBatch | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(batch);
  }
}

class ScriptedSources implements EventSources {
  readonly started: ScriptedSource[] = [];
  /** What the next start throws. */
  failure: unknown;
  kind: EventSource['kind'] = 'inotify';

  async start(): Promise<Started> {
    if (this.failure !== undefined) throw this.failure;
    const source = new ScriptedSource(this.kind);
    this.started.push(source);
    return { source, reason: 'scripted' };
  }

  hasBetter(kind: EventSource['kind']): boolean {
    return kind !== this.kind;
  }
}

/** Backups that were asked for; by default each is committed at once. */
class ScriptedBackups implements SourceBackups {
  readonly made: { readonly what: string; readonly gaps: readonly string[] }[] = [];
  /** What the next ones throw, the first one first. */
  readonly failures: unknown[] = [];
  /** Nothing differs. */
  isEqual = false;
  /** Held until it is called. */
  hold: Promise<void> | undefined;
  lastDirty: Dirty | undefined;
  isClosed = false;

  reconcile({ gaps }: Taking): Promise<Committed | undefined> {
    return this.#make('reconcile', gaps);
  }

  micro(dirty: Dirty, { gaps }: Taking): Promise<Committed | undefined> {
    this.lastDirty = dirty;
    const shown = [...dirty.entries, ...dirty.subtrees].map(({ path }) => toSlashes(path).toString());
    return this.#make(`micro ${shown.sort().join(' ')}`.trimEnd(), gaps);
  }

  async wished({ kind }: Wish, gaps: readonly string[]): Promise<Committed> {
    return (await this.#make(`wished ${kind}`, gaps, false))!;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  async #make(what: string, gaps: readonly string[], mayBeEqual = true): Promise<Committed | undefined> {
    this.made.push({ what, gaps });
    await this.hold;
    if (this.failures.length > 0) throw this.failures.shift();
    const label = `backup-${this.made.length}`;
    return this.isEqual && mayBeEqual ? undefined : { backup: { label } as BackupInfo, baseline: null };
  }
}

const TIMING: Timing = {
  everyMs: 5000,
  settleMs: 500,
  boundMs: 50_000,
  maxPaths: 1000,
  heartbeatMs: 30_000,
  blindMs: 600_000,
};

/** A monitor over scripted parts, and what it told. */
export class MonitorRig {
  readonly clock = new ScriptedClock();
  readonly sources = new ScriptedSources();
  readonly backups = new ScriptedBackups();
  readonly told: string[] = [];
  readonly ledgerFile: string;
  readonly monitor: Monitor;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(timing: Partial<Timing> = {}, ledgerFile?: string) {
    this.ledgerFile = ledgerFile ?? newLedger();
    this.monitor = new Monitor({
      sources: this.sources,
      backups: this.backups,
      ledger: GapLedger.open(this.ledgerFile, this.clock.now()),
      clock: this.clock,
      random: () => 0,
      timing: { ...TIMING, ...timing },
      events: {
        watching: (by) => this.told.push(`watching by ${by}`),
        committed: ({ backup }, why, gaps) => this.told.push([backup.label, why, ...gaps].join(' ')),
        gap: ({ reason }, state) => this.told.push(`${reason} ${state}`),
        problem: () => {},
        failed: (error) => this.told.push(`failed ${(error as { code?: string }).code ?? error}`),
        recoveryPoint: (isPassed) => this.told.push(isPassed ? 'too old' : 'young again'),
      },
    });
    onTestFinished(() => this.stop());
  }

  /** Runs it; the first look at the whole tree is over. */
  async start(): Promise<ScriptedSource> {
    this.#running = this.monitor.run(this.#stop.signal);
    await settled();
    return this.source;
  }

  get source(): ScriptedSource {
    return this.sources.started.at(-1)!;
  }

  /** What was made since it was asked last. */
  made(): string[] {
    return this.backups.made.splice(0).map(({ what }) => what);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

function newLedger(): string {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'ledger');
}
