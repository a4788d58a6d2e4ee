import { setTimeout } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';

/** Bytes of objects a second; undefined: as fast as it goes. */
export interface StoreLimits {
  readonly upload: number | undefined;
  readonly download: number | undefined;
}

/** Clock, so that tests own it. */
export interface LimitWorld {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** May throw, to end the call that waits. */
  readonly sleep: (milliseconds: number) => Promise<void>;
}

/** The process's clock; `signal` ends whoever waits, with TM1508. */
export const limitWorld = (signal: AbortSignal | undefined): LimitWorld => ({
  now: () => performance.now(),
  async sleep(milliseconds) {
    try {
      await setTimeout(milliseconds, undefined, signal ? { signal } : {});
    } catch (cause) {
      throw new TmError('TM1508', undefined, { cause });
    }
  },
});

/**
 * One direction. Calls are given their spans of time one after the other: a call of n bytes takes n / rate seconds,
 * whoever else is waiting. Time in which nobody called is not saved up.
 */
export class Pace {
  readonly #rate: number | undefined;
  readonly #world: LimitWorld;
  #free = Number.NEGATIVE_INFINITY;

  constructor(rate: number | undefined, world: LimitWorld) {
    this.#rate = rate;
    this.#world = world;
  }

  get now(): number {
    return this.#world.now();
  }

  /** Resolves when `bytes` may count as moved. `since`: when they began to move. */
  async take(bytes: number, since: number): Promise<void> {
    if (this.#rate === undefined || bytes === 0) return;
    this.#free = Math.max(this.#free, since) + (bytes * 1000) / this.#rate;
    const rest = this.#free - this.#world.now();
    if (rest > 0) await this.#world.sleep(rest);
  }
}
