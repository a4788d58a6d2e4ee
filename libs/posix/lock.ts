import { setTimeout as wait } from 'node:timers/promises';
import { LOCK_NB } from './constants.ts';
import { EAGAIN } from './errno.ts';
import { attempt, libc } from './libc.ts';

const LONGEST_WAIT_MS = 50;

/** 0 or -errno; -EAGAIN with LOCK_NB where another holds it. Without LOCK_NB it blocks the thread. */
export const flock = (fd: number, operation: number): number => attempt(() => libc.flock(fd, operation));

/**
 * As flock, without blocking the thread. It asks again every 1 to 50 ms rather than block a thread of the pool:
 * a blocked one can't be given up, so that neither the process nor a worker could exit. No order among those
 * who wait. Ends with -EBADF once the descriptor is closed.
 */
export async function flockWait(fd: number, operation: number): Promise<number> {
  for (let delay = 1; ; delay = Math.min(delay * 2, LONGEST_WAIT_MS)) {
    const result = flock(fd, operation | LOCK_NB);
    if (result !== -EAGAIN) return result;
    await wait(delay);
  }
}
