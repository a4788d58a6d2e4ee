import { setTimeout as sleep } from 'node:timers/promises';

export interface Persistence {
  /** Milliseconds after which it is given up. */
  readonly giveUpMs: number;
  /** Milliseconds between two tries. */
  readonly waitMs: number;
  readonly isWorthIt: (error: unknown) => boolean;
  /** Once aborted, nothing is tried again. */
  readonly signal: AbortSignal;
}

/** Does the work, again and again where its error is worth it; the last error is thrown. */
export async function persist<T>(
  work: () => Promise<T>,
  { giveUpMs, waitMs, isWorthIt, signal }: Persistence,
): Promise<T> {
  const until = performance.now() + giveUpMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isWorthIt(error) || signal.aborted || performance.now() + waitMs > until) throw error;
      await sleep(waitMs, undefined, { signal }).catch(() => {});
    }
  }
}
