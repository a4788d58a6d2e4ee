import type { Clock } from './clock.ts';

/** Follows how old the oldest change is that no backup holds, and tells when that passes a limit. */
export class RecoveryPoint {
  readonly #clock: Clock;
  readonly #limitMs: number | undefined;
  readonly #tell: (isPassed: boolean, ageMs: number) => void;
  #oldest: number | undefined;
  #isPassed = false;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, limitMs: number | undefined, tell: (isPassed: boolean, ageMs: number) => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#tell = tell;
  }

  /** When the oldest change was noticed; undefined while every change is in a backup. */
  get oldest(): number | undefined {
    return this.#oldest;
  }

  /** Milliseconds; 0 while every change is in a backup. */
  get age(): number {
    return this.#oldest === undefined ? 0 : Math.max(0, this.#clock.now() - this.#oldest);
  }

  set(oldest: number | undefined): void {
    if (oldest === this.#oldest) return;
    this.#oldest = oldest;
    this.#look();
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #look(): void {
    this.close();
    if (this.#limitMs === undefined) return;
    const left = this.#limitMs - this.age;
    const isPassed = this.#oldest !== undefined && left <= 0;
    if (isPassed !== this.#isPassed) this.#tell(isPassed, this.age);
    this.#isPassed = isPassed;
    if (this.#oldest !== undefined && !isPassed) this.#cancel = this.#clock.after(left, () => this.#look());
  }
}
