import { dueJobOf } from '../agent/remote-jobs.ts';
import type { BackupReader } from '../catalogue/backup-reader.ts';
import { findSource } from '../catalogue/find-backup.ts';
import type { CatalogueSource } from '../catalogue/port.ts';
import { scheduleRoutes as routes } from '../contracts/api/control.ts';
import type { JobView, ScheduledView } from '../contracts/api/control-views.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { pagesOf } from '../http/pages.ts';
import { TmError } from '../model/errors.ts';
import type { JobInfo } from '../schedule/job.ts';
import { type PolicyRequest, parsePolicy, parsePolicyRequest } from '../schedule/policy.ts';
import type { ScheduleApi, ScheduledSource, SourcePolicy } from '../schedule/schedule-api.ts';
import { sourcePolicy } from '../schedule/scheduled-sources.ts';

/** What the server gives of jobs in one answer; their list has no pages. */
const MOST_JOBS = 1000;

/**
 * Of the agents that the control plane knows. A folder is known to it from the first backup that its agent opened; a
 * policy before that is TM1703.
 */
export class RemoteSchedule implements ScheduleApi {
  readonly #control: HttpClient;
  readonly #place: Pick<BackupReader, 'catalogue' | 'agent' | 'agentUid'>;
  readonly #options: { readonly signal: AbortSignal };

  constructor(
    control: HttpClient,
    place: Pick<BackupReader, 'catalogue' | 'agent' | 'agentUid'>,
    signal: AbortSignal,
  ) {
    this.#control = control;
    this.#place = place;
    this.#options = { signal };
  }

  #source(dir: string): Promise<CatalogueSource> {
    return findSource(this.#place, dir);
  }

  async setPolicy(dir: string, request: PolicyRequest): Promise<SourcePolicy> {
    const body = parsePolicyRequest(request);
    const source = await this.#source(dir).catch((error) => unknown(error, dir));
    const params = { id: source.uid };
    const { policy } = await this.#control.call(routes.putPolicy, { params, body }, this.#options);
    return sourcePolicy(source, parsePolicy(policy));
  }

  async policies(dir: string | undefined): Promise<readonly SourcePolicy[]> {
    if (dir === undefined) return (await this.schedule(undefined)).filter(({ byDefault }) => !byDefault);
    const source = await this.#source(dir);
    const policy = await this.#policy(source.uid);
    return policy ? [sourcePolicy(source, parsePolicy(policy))] : [];
  }

  /** A removal that came through although its reply was lost is refused when it comes again: then too it is removed. */
  async removePolicy(dir: string): Promise<boolean> {
    const { uid } = await this.#source(dir);
    if (!(await this.#policy(uid))) return false;
    try {
      await this.#control.call(routes.deletePolicy, { params: { id: uid } }, this.#options);
    } catch (error) {
      if (!(error instanceof TmError && error.code === 'TM1811') || (await this.#policy(uid))) throw error;
    }
    return true;
  }

  async #policy(id: string) {
    return (await this.#control.call(routes.getPolicy, { params: { id } }, this.#options)).policy;
  }

  async schedule(dir: string | undefined): Promise<readonly ScheduledSource[]> {
    const only = dir === undefined ? {} : { source: (await this.#source(dir)).uid };
    const call = (paging: { limit: number }) =>
      this.#control.call(routes.schedule, { query: { ...paging, ...only } }, this.#options);
    const all: ScheduledSource[] = [];
    for await (const { sources } of pagesOf(call)) all.push(...sources.map(scheduledOf));
    return all;
  }

  async jobs({ dir, limit }: { dir: string | undefined; limit: number }): Promise<readonly JobInfo[]> {
    if (limit > MOST_JOBS)
      throw new TmError('TM1002', `--limit ${limit}: a server gives ${MOST_JOBS} jobs at most`);
    const only = dir === undefined ? {} : { source: (await this.#source(dir)).uid };
    const { jobs } = await this.#control.call(routes.listJobs, { query: { limit, ...only } }, this.#options);
    return jobs.map(jobOf);
  }

  /** The connection is its owner's. */
  async close(): Promise<void> {}
}

function unknown(error: unknown, dir: string): never {
  if (!(error instanceof TmError && error.code === 'TM1703')) throw error;
  const detail = `${dir}: its agent has to back it up once before it can have a policy`;
  throw new TmError('TM1703', detail, { cause: error });
}

const time = (text: string | null): Date | undefined => (text === null ? undefined : new Date(text));

const scheduledOf = ({ agentId, root, policy, next, jobs, ...view }: ScheduledView): ScheduledSource => ({
  source: view.source,
  agent: view.agent,
  agentUid: agentId ?? undefined,
  root: bytesOfJson(root),
  policy: parsePolicy(policy),
  byDefault: view.byDefault,
  next: next ? { at: new Date(next.at), kind: next.kind } : undefined,
  lastFull: time(view.lastFull),
  lastBackup: time(view.lastBackup),
  jobs: jobs.map(jobOf),
});

const jobOf = (view: JobView): JobInfo => ({
  ...view,
  ...dueJobOf(view),
  offeredAt: new Date(view.offeredAt),
  endedAt: time(view.endedAt),
  failure: view.failure ?? undefined,
  backup: view.backup ?? undefined,
});
