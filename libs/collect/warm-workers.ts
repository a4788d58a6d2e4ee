import type { BackupStart, WorkerSetup } from './protocol.ts';
import { type PoolEvents, WorkerPool } from './worker-pool.ts';

/** Keys of a pool serve as long at most. */
const MAX_AGE_MS = 60 * 60 * 1000;

/**
 * Keeps a thread from one small backup of a source to the next, since starting one costs more than such a backup does.
 * For one backup at a time. Where more than one thread was started, or anything failed, none is kept.
 */
export class WarmWorkers {
  readonly #now: () => number;
  #kept: { readonly pool: WorkerPool; readonly madeAt: number } | undefined;
  #madeAt = 0;

  /** `now` in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The pool for a backup: the one that was kept, or a new one with `setups`. */
  async take(
    setups: () => Promise<readonly WorkerSetup[]>,
    events: PoolEvents,
    start: BackupStart,
  ): Promise<WorkerPool> {
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept && !kept.pool.isBroken && this.#now() - kept.madeAt < MAX_AGE_MS) {
      kept.pool.begin(events, start);
      return kept.pool;
    }
    await kept?.pool.close();
    this.#madeAt = this.#now();
    return new WorkerPool(await setups(), events);
  }

  async giveBack(pool: WorkerPool, succeeded: boolean): Promise<void> {
    const isWorthKeeping = succeeded && pool.idle && pool.size === 1 && !pool.isBroken;
    if (!isWorthKeeping) return pool.close();
    pool.rest();
    this.#kept = { pool, madeAt: this.#madeAt };
  }

  async close(): Promise<void> {
    await this.#kept?.pool.close();
    this.#kept = undefined;
  }
}
