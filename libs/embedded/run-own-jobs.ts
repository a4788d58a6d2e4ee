import type { CollectProblem } from '../collect/collector.ts';
import type { Compression } from '../model/compression.ts';
import type { DueJob } from '../schedule/job.ts';
import { runJobs } from '../schedule/job-runner.ts';
import type { JobQueue } from '../schedule/queue.ts';
import { backupOrAsk } from './backup-or-ask.ts';
import type { Engine } from './engine.ts';

export interface OwnJobsOptions {
  readonly queue: Pick<JobQueue, 'fetch' | 'heartbeat' | 'done' | 'fail'>;
  readonly threads: number;
  readonly compression: Compression;
  /** Before the backup begins. */
  readonly onJob: (job: DueJob) => void;
  readonly onFailed: (job: DueJob, error: unknown) => void;
  readonly onProblem: (job: DueJob, problem: CollectProblem) => void;
  /** Asking for jobs or answering failed; it is tried again. */
  readonly onError: (error: unknown) => void;
}

/** Does the jobs of this host's own folders, one after the other, until the signal is aborted. */
export function runOwnJobs(engine: Engine, options: OwnJobsOptions, signal: AbortSignal): Promise<void> {
  const { queue, threads, compression, onJob, onFailed, onProblem, onError } = options;
  const execute = async (job: DueJob, stop: AbortSignal): Promise<string> => {
    onJob(job);
    const { kind, tags, excludes, oneFileSystem = false, acceptRoot = false } = job;
    const request = { kind, tags, excludes, threads, compression, signal: stop, oneFileSystem, acceptRoot };
    try {
      const made = await backupOrAsk(engine, {
        ...request,
        dir: Buffer.from(job.root, 'base64'),
        onProblem: (problem) => onProblem(job, problem),
        onProgress: () => {},
      });
      return made.label;
    } catch (error) {
      onFailed(job, error);
      throw error;
    }
  };
  return runJobs({ queue, agent: engine.home.agent, execute, now: () => new Date(), onError }, signal);
}
