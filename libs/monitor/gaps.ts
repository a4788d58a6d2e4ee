import type { Gap } from '../watch/coverage.ts';
import type { GapLedger } from '../watch/ledger.ts';
import type { GapReason } from '../watch/ledger-format.ts';
import type { Clock } from './clock.ts';
import type { MonitorEvents } from './port.ts';

/** The gaps of one source: each is in the ledger before anybody is told. */
export class Gaps {
  readonly #ledger: GapLedger;
  readonly #clock: Clock;
  readonly #events: Pick<MonitorEvents, 'gap'>;

  constructor(ledger: GapLedger, clock: Clock, events: Pick<MonitorEvents, 'gap'>) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#events = events;
  }

  get open(): readonly Gap[] {
    return this.#ledger.openGaps;
  }

  /** Of the open ones: each once, sorted. */
  get reasons(): GapReason[] {
    return [...new Set(this.open.map(({ reason }) => reason))].sort();
  }

  /** Since when changes may have been missed that no reconcile has looked for yet. */
  get oldest(): number | undefined {
    const [first, ...more] = this.open.map(({ from }) => from);
    return first === undefined ? undefined : Math.min(first, ...more);
  }

  /** `at`: when events may have been lost first. */
  lost(reason: GapReason, at: number = this.#clock.now()): void {
    const gap = this.#ledger.openGap(reason, at);
    this.#events.gap({ gap, reason }, 'opened');
  }

  /** A look at the whole tree that began at `from`, while these were open, is over. `by`: label of what it committed. */
  closed(gaps: readonly Gap[], from: number, by?: string): void {
    this.#ledger.reconciled(
      gaps.map(({ gap }) => gap),
      from,
      this.#clock.now(),
      by,
    );
    for (const gap of gaps) this.#events.gap(gap, 'closed');
  }

  started(): void {
    this.#ledger.started(this.#clock.now());
  }

  alive(): void {
    this.#ledger.alive(this.#clock.now());
  }

  /** In order; what happens from here on is a gap. */
  close(): void {
    this.#ledger.stopped(this.#clock.now());
    this.#ledger.close();
  }
}
