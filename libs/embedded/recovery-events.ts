import type { MonitorEvents } from '../monitor/port.ts';
import { tellRecoveryPoint } from '../schedule/recovery-point.ts';
import type { EngineKeeper } from './engine-keeper.ts';

/** Milliseconds until it is tried again where registry or store are away. */
const RETRY_MS = 5000;

/**
 * Has the registry say by an event when a source's recovery point passes the policy's limit, and when it holds again. One
 * that can't be said now is said later, unless it holds no more by then.
 */
export class RecoveryEvents {
  readonly #engines: Pick<EngineKeeper, 'use'>;
  readonly #sourceId: number;
  readonly #limitMs: number | undefined;
  readonly #retryMs: number;
  #wanted: { readonly isPassed: boolean; readonly ageMs: number } | undefined;
  #isTelling = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    engines: Pick<EngineKeeper, 'use'>,
    sourceId: number,
    limitMs: number | undefined,
    retryMs = RETRY_MS,
  ) {
    this.#engines = engines;
    this.#sourceId = sourceId;
    this.#limitMs = limitMs;
    this.#retryMs = retryMs;
  }

  /** The same events, and what they say of the recovery point goes to the registry too. */
  with(events: MonitorEvents): MonitorEvents {
    return {
      ...events,
      watching: (by, reason) => {
        events.watching(by, reason);
        if (!this.#wanted) this.#tell(false, 0); // what an earlier process said last may hold no more
      },
      recoveryPoint: (isPassed, ageMs) => {
        events.recoveryPoint?.(isPassed, ageMs);
        this.#tell(isPassed, ageMs);
      },
    };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#wanted = undefined;
  }

  #tell(isPassed: boolean, ageMs: number): void {
    this.#wanted = { isPassed, ageMs };
    if (!this.#isTelling) void this.#work();
  }

  async #work(): Promise<void> {
    clearTimeout(this.#timer);
    this.#isTelling = true;
    const wanted = this.#wanted;
    try {
      if (wanted) await this.#say(wanted.isPassed, wanted.ageMs);
    } catch {
      this.#timer = setTimeout(() => void this.#work(), this.#retryMs).unref();
    } finally {
      this.#isTelling = false;
    }
    if (this.#wanted !== wanted) void this.#work();
  }

  #say(isPassed: boolean, ageMs: number): Promise<void> {
    const limitMs = isPassed ? (this.#limitMs ?? 0) : this.#limitMs;
    return this.#engines.use(async (engine) => {
      if (await tellRecoveryPoint(engine.registry, this.#sourceId, { ageMs, limitMs }))
        await engine.registry.outbox.passOver();
    });
  }
}
