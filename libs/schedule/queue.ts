import type { DueJob, JobInfo } from './job.ts';

/** Names a job in somebody's hands. Once its lease has run out it may be in other hands: then this one is refused. */
export interface JobHandle {
  readonly job: Pick<DueJob, 'id' | 'agent'>;
  /** How often it was handed out before. */
  readonly handedOut: number;
}

export interface HandedJob extends JobHandle {
  readonly job: DueJob;
}

/** What may be asked and changed while nobody else decides. */
export interface JobDesk {
  /** All jobs that have not ended. */
  unended(): Promise<JobInfo[]>;
  /** Those of the jobs that there are, ended ones included. */
  find(jobs: readonly Pick<DueJob, 'agent' | 'id'>[]): Promise<JobInfo[]>;
  /** Each id once for as long as the queue remembers it. Gives how many were new. */
  offer(jobs: readonly DueJob[], at: Date): Promise<number>;
  /** Takes back what waits; false where an agent has it already. */
  withdraw(job: JobInfo): Promise<boolean>;
}

/**
 * Holds due jobs, by agent, oldest first. It has a clock of its own for leases only; what is due is not its business.
 * Ended jobs are remembered for at least 30 days.
 */
export interface JobQueue {
  /**
   * Runs `work` while nobody else decides, over all processes. What it offers and withdraws holds when it has returned,
   * all or nothing; a process that stalls loses its turn, and its offers with it.
   */
  deciding<T>(work: (desk: JobDesk) => Promise<T>): Promise<T>;
  /** The agent's next job, waiting up to `waitMs` for one; undefined when there is none, or `signal` was aborted. */
  fetch(
    agent: string,
    wait: { readonly waitMs: number; readonly signal?: AbortSignal },
  ): Promise<HandedJob | undefined>;
  /** Renews the lease. These three throw TM1813 when the job is no longer in these hands. */
  heartbeat(handle: JobHandle): Promise<void>;
  done(handle: JobHandle, result: { readonly backup: string; readonly at: Date }): Promise<void>;
  fail(handle: JobHandle, failure: { readonly code: string; readonly at: Date }): Promise<void>;
  /** One job; undefined where there is none, or it ended long ago. */
  get(job: Pick<DueJob, 'agent' | 'id'>): Promise<JobInfo | undefined>;
  /**
   * Ends a job that has not ended, and says what it was: one that waits is gone as if never offered; one that runs has
   * failed, and its agent is refused (TM1813) at its next heartbeat; without `failure` that one is left alone.
   * Undefined where nothing was ended.
   */
  cancel(
    job: Pick<DueJob, 'agent' | 'id'>,
    failure?: { readonly code: string; readonly at: Date },
  ): Promise<'waiting' | 'running' | undefined>;
  /** Puts back what lost its lease (failed, once that has happened too often). Gives how many. */
  releaseExpired(at: Date): Promise<number>;
  /** Unended ones first, then the newest ended. */
  list(filter: { readonly source?: string; readonly limit: number }): Promise<JobInfo[]>;
  /** Forgets what ended long ago. */
  tidy(): Promise<number>;
  /** Ends waiting fetches, then the connections. */
  close(): Promise<void>;
}
