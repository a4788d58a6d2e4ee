import { setTimeout as delay } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';
import type { DueJob } from './job.ts';
import type { HandedJob, JobQueue } from './queue.ts';

export interface JobRunnerDeps {
  /** Of a process's own, or behind HTTP. */
  readonly queue: Pick<JobQueue, 'fetch' | 'heartbeat' | 'done' | 'fail'>;
  readonly agent: string;
  /** Makes the backup and gives its label. The signal: the job is lost to somebody else, or the runner stops. */
  readonly execute: (job: DueJob, signal: AbortSignal) => Promise<string>;
  readonly now: () => Date;
  /** Asking or answering failed; it is tried again. */
  readonly onError: (error: unknown) => void;
  /** Default: 15,000 ms. */
  readonly heartbeatMs?: number;
  /** Of one long poll. Default: 25,000 ms. */
  readonly waitMs?: number;
  /** After an error. Default: 5,000 ms. */
  readonly retryMs?: number;
}

/** Does an agent's jobs one after the other until `signal` is aborted; then the one under way is given up and told so. */
export async function runJobs(deps: JobRunnerDeps, signal: AbortSignal): Promise<void> {
  const { queue, agent, onError, waitMs = 25_000, retryMs = 5000 } = deps;
  while (!signal.aborted) {
    try {
      const handed = await queue.fetch(agent, { waitMs, signal });
      if (handed) await runJob(deps, handed, signal);
    } catch (error) {
      onError(error);
      await delay(retryMs, undefined, { signal }).catch(() => {});
    }
  }
}

async function runJob(deps: JobRunnerDeps, handed: HandedJob, stopping: AbortSignal): Promise<void> {
  const { queue, execute, now } = deps;
  const lost = new AbortController();
  const ended = new AbortController();
  const beating = beat(deps, handed, lost, ended.signal);
  try {
    const backup = await execute(handed.job, AbortSignal.any([stopping, lost.signal]));
    await queue.done(handed, { backup, at: now() });
  } catch (error) {
    if (lost.signal.aborted || isNotOurs(error)) return;
    const code = error instanceof TmError ? error.code : 'TM1099';
    await queue.fail(handed, { code, at: now() });
  } finally {
    ended.abort();
    await beating;
  }
}

/** A heartbeat that can't be sent is no reason to end a backup: whoever has the job now finds its source taken. */
async function beat(
  { queue, heartbeatMs = 15_000, onError }: JobRunnerDeps,
  handed: HandedJob,
  lost: AbortController,
  ended: AbortSignal,
): Promise<void> {
  for (;;) {
    await delay(heartbeatMs, undefined, { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    try {
      await queue.heartbeat(handed);
    } catch (error) {
      if (isNotOurs(error)) return lost.abort();
      onError(error);
    }
  }
}

const isNotOurs = (error: unknown): boolean => error instanceof TmError && error.code === 'TM1813';
