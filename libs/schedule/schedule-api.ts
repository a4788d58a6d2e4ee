import type { JobInfo } from './job.ts';
import type { Policy, PolicyRequest } from './policy.ts';

export interface SourcePolicy {
  /** The source's uid, and where it lies. */
  readonly source: string;
  readonly agent: string;
  /** Of an enrolled agent; undefined for a source of the embedded mode. */
  readonly agentUid: string | undefined;
  readonly root: Buffer;
  readonly policy: Policy;
  /** It has none of its own: this is the server's for all that have none. */
  readonly byDefault?: boolean | undefined;
}

export interface ScheduledSource extends SourcePolicy {
  /** When the next backup will be due, and which kind; undefined while paused or with nothing to come. */
  readonly next: { readonly at: Date; readonly kind: 'full' | 'differential' } | undefined;
  readonly lastFull: Date | undefined;
  readonly lastBackup: Date | undefined;
  /** Waiting and running. */
  readonly jobs: readonly JobInfo[];
}

/** What the commands policy, schedule and jobs need: of the registry in this process, or of a server. */
export interface ScheduleApi {
  /** Of a folder, as DIR or AGENT:DIR; that it was backed up before is not needed. Throws TM1812. */
  setPolicy(dir: string, request: PolicyRequest): Promise<SourcePolicy>;
  /** Of one folder, or all. Throws TM1703 for a folder that is no source. */
  policies(dir: string | undefined): Promise<readonly SourcePolicy[]>;
  /** False where there was none. Throws TM1703 for a folder that is no source. */
  removePolicy(dir: string): Promise<boolean>;
  schedule(dir: string | undefined): Promise<readonly ScheduledSource[]>;
  /** Unended ones first, then the newest ended. */
  jobs(filter: { readonly dir: string | undefined; readonly limit: number }): Promise<readonly JobInfo[]>;
  close(): Promise<void>;
}
