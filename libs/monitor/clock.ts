/** Time as a monitor sees it, so that tests own it. Milliseconds. */
export interface Clock {
  /** Since 1970. */
  now(): number;
  /** Calls back once after `ms`; what it gives calls that off. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: Date.now,
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, 0x7fff_ffff));
    return () => clearTimeout(timer);
  },
};
