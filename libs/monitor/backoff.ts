const FIRST_MS = 500;
const LONGEST_MS = 60_000;

/** How long to wait after failures in a row: longer each time up to a minute, and never the same for two who failed together. */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** Milliseconds. */
  failed(): number {
    const longest = Math.min(FIRST_MS * 2 ** this.#failures++, LONGEST_MS);
    return Math.round(longest * (0.5 + this.#random() / 2));
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
