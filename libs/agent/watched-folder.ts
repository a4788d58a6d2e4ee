import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { systemClock } from '../monitor/clock.ts';
import { Monitor, type MonitorStatus } from '../monitor/monitor.ts';
import type { Committed, MonitorEvents, Wish } from '../monitor/port.ts';
import { RootSources } from '../monitor/root-sources.ts';
import { timingFor } from '../monitor/timing.ts';
import { GapLedger } from '../watch/ledger.ts';
import type { AgentSession } from './session.ts';
import { WatchReporter } from './watch-reporter.ts';
import { RemoteWatchedBackups, type WatchRules } from './watched-backups.ts';

export interface WatchedFolderOptions {
  readonly session: AgentSession;
  readonly rules: WatchRules;
  /** The agent's home, which is never watched. */
  readonly home: string;
  readonly ledgerFile: (name: string) => string;
  readonly stateFile: (sourceUid: string) => string;
  /** Milliseconds between two micro-differentials where the policy says nothing. */
  readonly everyMs: number;
  readonly events: MonitorEvents;
}

/** One folder that an agent watches for services: micro-differentials, and reports to the control plane. */
export class WatchedFolder {
  readonly root: Buffer;
  readonly #monitor: Monitor;
  readonly #reporter: WatchReporter;
  #everyMs: number;
  /** Uid of the source, once a backup of it was opened. */
  #source: string | undefined;

  constructor({ session, rules, home, ledgerFile, stateFile, everyMs, events }: WatchedFolderOptions) {
    this.root = rules.root;
    this.#everyMs = everyMs;
    const ledger = GapLedger.open(ledgerFile(nameOf(rules.root)), Date.now());
    const backups = new RemoteWatchedBackups({
      session,
      rules,
      stateFile,
      onOpened: ({ source }) => {
        this.#source = source.uid;
      },
    });
    this.#monitor = new Monitor({
      sources: new RootSources(rules.root, [realpathSync(home, { encoding: 'buffer' })]),
      backups,
      ledger,
      clock: systemClock,
      random: Math.random,
      timing: this.#timing(),
      events: this.#reported(events),
    });
    this.#reporter = new WatchReporter({
      control: session.control,
      source: () => this.#source,
      status: () => this.status,
      ledger,
      onPolicy: (policy) => {
        this.#everyMs = policy.everyMs ?? everyMs;
        if (backups.leaveOut(policy.excludes)) this.#monitor.lookAtAll();
      },
    });
  }

  get status(): MonitorStatus {
    return this.#monitor.status;
  }

  /** Has a backup made, for a job. */
  ask(wish: Wish): Promise<Committed> {
    return this.#monitor.ask(wish);
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#monitor.run(signal);
    } finally {
      await this.#reporter.close();
    }
  }

  /** A policy may change how often, while it runs. */
  #timing() {
    const timing = () => timingFor(this.#everyMs);
    return {
      ...timing(),
      get everyMs() {
        return timing().everyMs;
      },
      get settleMs() {
        return timing().settleMs;
      },
      get boundMs() {
        return timing().boundMs;
      },
    };
  }

  #reported(events: MonitorEvents): MonitorEvents {
    const told = () => this.#reporter.changed();
    return {
      watching(...all) {
        events.watching(...all);
        told();
      },
      committed(...all) {
        events.committed(...all);
        told();
      },
      gap(...all) {
        events.gap(...all);
        told();
      },
      failed(...all) {
        events.failed(...all);
        told();
      },
      problem: (problem) => events.problem(problem),
    };
  }
}

/** The ledger is there before the source is known. */
const nameOf = (root: Buffer): string => createHash('sha256').update(root).digest('hex').slice(0, 32);
