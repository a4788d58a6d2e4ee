import { setTimeout as delay } from 'node:timers/promises';
import type { Registry } from '../registry/port.ts';
import { PgBossQueue, type PgBossQueueOptions } from './pg-boss-queue.ts';
import type { Policy } from './policy.ts';
import type { JobQueue } from './queue.ts';
import { backupFacts, plannedSources } from './registry-facts.ts';
import { Scheduler } from './scheduler.ts';

export interface SchedulerSetup extends PgBossQueueOptions {
  readonly registry: Registry;
  /** A turn that failed, or a policy that can't be read; scheduling goes on. */
  readonly onError: (error: unknown) => void;
  /** Of enrolled agents' sources that have no policy of their own. */
  readonly defaultPolicy?: Policy | undefined;
  /** Between two looks without an event. Default: 30,000 ms. */
  readonly intervalMs?: number;
}

export interface RunningScheduler {
  readonly queue: JobQueue;
  /** To be called at every commit event, failed backup and changed policy; calls too many or too few do no harm. */
  readonly notify: () => void;
  /** Ends waiting fetches and the turn under way; jobs in the hands of agents stay theirs. */
  readonly stop: () => Promise<void>;
}

/** A scheduler on the registry's database and by its clock. Any number may run at once, also in several processes. */
export async function startScheduler(setup: SchedulerSetup): Promise<RunningScheduler> {
  const { registry, onError } = setup;
  const queue = await PgBossQueue.open(setup);
  const scheduler = new Scheduler({
    queue,
    sources: () => plannedSources(registry, onError, setup.defaultPolicy),
    facts: (now, sources) => backupFacts(registry, now, sources),
    now: () => registry.now(),
    pause: (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}),
    onError,
    ...(setup.intervalMs === undefined ? {} : { intervalMs: setup.intervalMs }),
  });
  scheduler.start();
  return {
    queue,
    notify: () => scheduler.notify(),
    stop: async () => {
      await scheduler.stop();
      await queue.close();
    },
  };
}
