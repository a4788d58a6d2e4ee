import type { Db } from 'pg-boss';
import type { DueJob, JobInfo, JobState } from './job.ts';

/** Postgres schema of the queue, beside the registry's tables. */
export const SCHEMA = 'tidemark_jobs';

type BossState = 'created' | 'retry' | 'active' | 'completed' | 'cancelled' | 'failed';
type Data = DueJob & { readonly offeredAt: string };

interface Output {
  readonly outcome: 'done' | 'failed';
  readonly at: string;
  readonly code?: string;
  readonly backup?: string;
}

export interface JobRow {
  readonly id: string;
  readonly data: Data;
  readonly state: BossState;
  readonly output: Output | null;
}

export interface HeldRow {
  readonly queue: string;
  readonly id: string;
  readonly retryCount: number;
}

const ENDED_A_PASS = 1000;
const COLUMNS = 'id, data, state::text, output';
const UNENDED = `state in ('created', 'retry', 'active')`;

/** Reads what the queue's table holds. Nothing is written here: pg-boss does that. */
export class JobRows {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async #rows<T>(where: string, values: unknown[], columns = COLUMNS): Promise<T[]> {
    return (await this.#db.executeSql(`select ${columns} from ${SCHEMA}.job ${where}`, values)).rows;
  }

  async unended(): Promise<JobInfo[]> {
    return (await this.#rows<JobRow>(`where ${UNENDED} order by created_on, id`, [])).map(infoOf);
  }

  async find(jobs: readonly { readonly queue: string; readonly id: string }[]): Promise<JobInfo[]> {
    const rows = await this.#rows<JobRow>(
      'where (name, id) in (select * from unnest($1::text[], $2::uuid[]))',
      [jobs.map(({ queue }) => queue), jobs.map(({ id }) => id)],
    );
    return rows.map(infoOf);
  }

  /** How often a running one was handed out before; undefined where it does not run. */
  async handedOut({
    queue,
    id,
  }: {
    readonly queue: string;
    readonly id: string;
  }): Promise<number | undefined> {
    const rows = await this.#rows<HeldRow>(
      `where name = $1 and id = $2 and state = 'active'`,
      [queue, id],
      'retry_count as "retryCount"',
    );
    return rows[0]?.retryCount;
  }

  /** Running ones whose agent has not been heard of for so long. */
  async silentFor(seconds: number): Promise<HeldRow[]> {
    return this.#rows(
      `where state = 'active' and coalesce(heartbeat_on, started_on) < now() - $1::float8 * interval '1s'`,
      [seconds],
      'name as queue, id, retry_count as "retryCount"',
    );
  }

  async endedBefore(days: number): Promise<(JobRow & { queue: string })[]> {
    return this.#rows(
      `where completed_on < now() - $1::int * interval '1 day' order by completed_on limit ${ENDED_A_PASS}`,
      [days],
      `name as queue, ${COLUMNS}`,
    );
  }

  async list({ source, limit }: { readonly source?: string; readonly limit: number }): Promise<JobInfo[]> {
    const rows = await this.#rows<JobRow>(
      `where $1::text is null or data->>'source' = $1
       order by ${UNENDED} desc, case when ${UNENDED} then created_on end, completed_on desc, id limit $2`,
      [source ?? null, limit],
    );
    return rows.map(infoOf);
  }
}

const STATES: Readonly<Record<BossState, JobState>> = {
  created: 'waiting',
  retry: 'waiting',
  active: 'running',
  completed: 'done',
  cancelled: 'failed',
  failed: 'failed',
};

export function jobOfRow({ id, data }: Pick<JobRow, 'id'> & { readonly data: DueJob }): DueJob {
  const { source, agent, root, kind, reason, slot, dueAt, attempt, excludes, tags } = data;
  const { oneFileSystem, acceptRoot } = data;
  const options = {
    excludes,
    tags,
    ...(oneFileSystem && { oneFileSystem }),
    ...(acceptRoot && { acceptRoot }),
  };
  return { id, source, agent, root, kind, reason, slot, dueAt, attempt, ...options };
}

function infoOf({ id, data, state, output }: JobRow): JobInfo {
  const told = STATES[state];
  const hasEnded = told === 'done' || told === 'failed';
  return {
    ...jobOfRow({ id, data }),
    state: hasEnded && output?.outcome === 'failed' ? 'failed' : told,
    offeredAt: new Date(data.offeredAt),
    endedAt: hasEnded && output ? new Date(output.at) : undefined,
    failure: hasEnded ? output?.code : undefined,
    backup: output?.backup,
  };
}
