import type { Clock } from './clock.ts';

/** A sleep that others may end. One at a time. */
export class Sleeper {
  readonly #clock: Clock;
  #wake: () => void = () => {};
  #isAwake = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Until that time, or `wake`; at once if that was called since the last sleep began. Without a time no timer runs. */
  async sleep(until: number | undefined): Promise<void> {
    if (!this.#isAwake) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const ms = until === undefined ? undefined : Math.max(0, until - this.#clock.now());
      const cancel = ms === undefined ? undefined : this.#clock.after(ms, resolve);
      await promise;
      cancel?.();
    }
    this.#isAwake = false;
  }

  wake(): void {
    this.#isAwake = true;
    this.#wake();
  }
}
