import { BusyError } from './problem.ts';

/** How often one sender may ask: `perSecond` in the long run, `burst` at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  /** Milliseconds of the clock at which `tokens` was right. */
  at: number;
}

/** Senders that are remembered; more than these at once share their luck, but never the memory. */
const MOST_SENDERS = 10_000;

/** A token bucket for each sender. */
export class TokenBuckets {
  readonly #rate: Rate;
  readonly #now: () => number;
  /** Those used last come last. */
  readonly #buckets = new Map<string, Bucket>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(rate: Rate, now: () => number) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Throws TM1808 (429) with the time after which there is a token again. */
  take(sender: string): void {
    const now = this.#now();
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(sender) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    this.#buckets.delete(sender);
    this.#buckets.set(sender, bucket);
    this.#forgetOldest();
    if (bucket.tokens < 1) throw new BusyError(429, (1 - bucket.tokens) / perSecond, 'too many requests');
    bucket.tokens--;
  }

  #forgetOldest(): void {
    if (this.#buckets.size <= MOST_SENDERS) return;
    for (const sender of this.#buckets.keys()) {
      this.#buckets.delete(sender);
      return;
    }
  }
}
