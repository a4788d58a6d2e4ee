import { EventEmitter, once } from 'node:events';
import { type ConstructorOptions, type Db, PgBoss } from 'pg-boss';
import { TmError } from '../model/errors.ts';
import type { DueJob, JobInfo } from './job.ts';
import { type JobRow, JobRows, jobOfRow, SCHEMA } from './job-rows.ts';
import type { HandedJob, JobDesk, JobHandle, JobQueue } from './queue.ts';

export interface PgBossQueueOptions {
  /** As node-postgres takes them: the registry's database; the queue lives in a schema of its own there. */
  readonly connection: string | Pick<ConstructorOptions, 'host' | 'port' | 'user' | 'password' | 'database'>;
  /** After how much silence a job goes back; by the database's clock. Default: 60 s. */
  readonly leaseSeconds?: number;
  /** How often a waiting fetch looks for jobs that another process offered. Default: 2,000 ms. */
  readonly pollMs?: number;
}

const CONNECTIONS = 4;
const DECIDING = 0x746d0010;
/** A process that stalls while it decides is cut off after this: its offers are rolled back, others go on. */
const TURN = '30s';
/** How often a job may lose its lease before it counts as failed. */
const LOST_LEASES = 3;
const REMEMBERED_DAYS = 30;

/** Letters, digits, `_ - . /` only, and no clash of two agents. */
const queueOf = (agent: string): string => `agent-${Buffer.from(agent).toString('hex')}`;

const FAILED = 'failed';
const DONE = 'done';

/**
 * The queue on pg-boss. Used of it: rows that are there once by their id, claiming under SKIP LOCKED, attempts as fences
 * and retries. Not used are its schedules, its supervisor and its expiry, which ends whatever runs for more than a day:
 * leases end by `releaseExpired`, and what is old goes by `tidy`.
 */
export class PgBossQueue implements JobQueue {
  readonly #boss: PgBoss;
  readonly #leaseSeconds: number;
  readonly #pollMs: number;
  readonly #known = new Set<string>();
  readonly #offers = new EventEmitter().setMaxListeners(0);
  readonly #closing = new AbortController();
  readonly #waits = new Set<Promise<unknown>>();

  private constructor(boss: PgBoss, options: PgBossQueueOptions) {
    this.#boss = boss;
    this.#leaseSeconds = options.leaseSeconds ?? 60;
    this.#pollMs = options.pollMs ?? 2000;
  }

  /** Makes or migrates the schema; several processes may do so at once. */
  static async open(options: PgBossQueueOptions): Promise<PgBossQueue> {
    const { connection } = options;
    const where = typeof connection === 'string' ? { connectionString: connection } : { ...connection };
    const boss = new PgBoss({
      ...where,
      max: CONNECTIONS,
      schema: SCHEMA,
      application_name: 'tidemark jobs',
      schedule: false,
      supervise: false,
      registerInstance: false,
      openTelemetry: { enabled: false },
    });
    boss.on('error', () => {}); // what was asked for says so itself; a broken idle connection is replaced
    try {
      await boss.start();
    } catch (error) {
      await boss.stop({ graceful: false }).catch(() => {});
      throw queueError(error);
    }
    return new PgBossQueue(boss, options);
  }

  async deciding<T>(work: (desk: JobDesk) => Promise<T>): Promise<T> {
    const offered = new Set<string>();
    const result = await this.#transaction(async (db) => {
      await db.executeSql(`set local idle_in_transaction_session_timeout = '${TURN}'`);
      await db.executeSql('select pg_advisory_xact_lock($1)', [DECIDING]);
      return work(this.#desk(db, offered));
    });
    for (const queue of offered) this.#offers.emit(queue);
    return result;
  }

  async #transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const transaction = await asked(() => this.#boss.getDb().beginTransaction!());
    try {
      const result = await work(transaction.db);
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.rollback();
      throw queueError(error);
    }
  }

  #desk(db: Db, offered: Set<string>): JobDesk {
    const rows = new JobRows(db);
    return {
      unended: () => asked(() => rows.unended()),
      find: (jobs) => asked(() => rows.find(jobs.map(({ agent, id }) => ({ queue: queueOf(agent), id })))),
      offer: (jobs, at) => asked(() => this.#offer(db, jobs, at, offered)),
      withdraw: (job) => asked(() => this.#withdraw(db, job)),
    };
  }

  async #offer(db: Db, jobs: readonly DueJob[], at: Date, offered: Set<string>): Promise<number> {
    const byQueue = Map.groupBy(jobs, ({ agent }) => queueOf(agent));
    let count = 0;
    for (const [queue, own] of byQueue) {
      await this.#ensureQueue(queue);
      const inserts = own.map((job) => ({ id: job.id, data: { ...job, offeredAt: at.toISOString() } }));
      const ids = (await this.#boss.insert(queue, inserts, { db, returnId: true })) ?? [];
      if (ids.length > 0) offered.add(queue);
      count += ids.length;
    }
    return count;
  }

  async #ensureQueue(queue: string): Promise<void> {
    if (this.#known.has(queue)) return;
    await this.#boss.createQueue(queue, { retryLimit: LOST_LEASES, retryDelay: 0 });
    this.#known.add(queue);
  }

  /** The update takes only what nobody has claimed, and keeps it from being claimed until it is gone. */
  async #withdraw(db: Db, job: JobInfo): Promise<boolean> {
    const queue = queueOf(job.agent);
    const { updated } = await this.#boss.update(queue, undefined, { id: job.id, priority: 0, db });
    if (updated === 0) return false;
    await this.#boss.deleteJob(queue, job.id, { db });
    return true;
  }

  async fetch(
    agent: string,
    { waitMs, signal }: { readonly waitMs: number; readonly signal?: AbortSignal },
  ): Promise<HandedJob | undefined> {
    const until = AbortSignal.timeout(Math.max(0, waitMs));
    const ends = AbortSignal.any([until, this.#closing.signal, ...(signal ? [signal] : [])]);
    const fetching = this.#fetch(queueOf(agent), ends);
    this.#waits.add(fetching);
    try {
      return await fetching;
    } finally {
      this.#waits.delete(fetching);
    }
  }

  async #fetch(queue: string, ends: AbortSignal): Promise<HandedJob | undefined> {
    await asked(() => this.#ensureQueue(queue));
    for (;;) {
      const woken = this.#offerTo(queue, ends);
      const [found] = await asked(() => this.#boss.fetch<DueJob>(queue));
      if (found) return { job: jobOfRow({ id: found.id, data: found.data }), handedOut: found.retryCount };
      if (ends.aborted) return undefined;
      await woken;
    }
  }

  /** Resolves at an offer of this process, at the time to look again, or when the wait ends. */
  async #offerTo(queue: string, ends: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([ends, AbortSignal.timeout(this.#pollMs)]);
    await once(this.#offers, queue, { signal }).catch(() => {});
  }

  async heartbeat(handle: JobHandle): Promise<void> {
    const { queue, attempt } = held(handle);
    mustHold(handle, await asked(() => this.#boss.touch(queue, attempt)));
  }

  async done(handle: JobHandle, { backup, at }: { backup: string; at: Date }): Promise<void> {
    await this.#end(handle, { outcome: DONE, backup, at: at.toISOString() });
  }

  /** For pg-boss it is completed: whether it is tried again is the planner's decision. */
  async fail(handle: JobHandle, { code, at }: { code: string; at: Date }): Promise<void> {
    await this.#end(handle, { outcome: FAILED, code, at: at.toISOString() });
  }

  async #end(handle: JobHandle, output: object): Promise<void> {
    const { queue, attempt } = held(handle);
    mustHold(handle, await asked(() => this.#boss.complete(queue, attempt, output)));
  }

  async get({ agent, id }: Pick<DueJob, 'agent' | 'id'>): Promise<JobInfo | undefined> {
    const rows = new JobRows(this.#boss.getDb());
    return (await asked(() => rows.find([{ queue: queueOf(agent), id }])))[0];
  }

  async cancel(
    job: Pick<DueJob, 'agent' | 'id'>,
    failure?: { readonly code: string; readonly at: Date },
  ): Promise<'waiting' | 'running' | undefined> {
    const isGone = await this.deciding(async (desk) => {
      const [found] = await desk.find([job]);
      return found?.state === 'waiting' && desk.withdraw(found);
    });
    if (isGone) return 'waiting';
    if (!failure) return undefined;
    const rows = new JobRows(this.#boss.getDb());
    const handedOut = await asked(() => rows.handedOut({ queue: queueOf(job.agent), id: job.id }));
    if (handedOut === undefined) return undefined;
    try {
      await this.fail({ job, handedOut }, failure);
      return 'running';
    } catch (error) {
      if (error instanceof TmError && error.code === 'TM1813') return undefined; // it has ended meanwhile
      throw error;
    }
  }

  async releaseExpired(at: Date): Promise<number> {
    const rows = new JobRows(this.#boss.getDb());
    let count = 0;
    for (const { queue, id, retryCount } of await asked(() => rows.silentFor(this.#leaseSeconds))) {
      const output = { outcome: FAILED, code: 'TM1512', at: at.toISOString() };
      const reply = await asked(() => this.#boss.fail(queue, { id, retryCount }, output));
      count += affected(reply);
      this.#offers.emit(queue);
    }
    return count;
  }

  list(filter: { readonly source?: string; readonly limit: number }): Promise<JobInfo[]> {
    return asked(() => new JobRows(this.#boss.getDb()).list(filter));
  }

  async tidy(): Promise<number> {
    const rows = new JobRows(this.#boss.getDb());
    const old = await asked(() => rows.endedBefore(REMEMBERED_DAYS));
    for (const [queue, ids] of Map.groupBy<string, JobRow & { queue: string }>(old, (row) => row.queue))
      await asked(() =>
        this.#boss.deleteJob(
          queue,
          ids.map(({ id }) => id),
        ),
      );
    return old.length;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#waits);
    await this.#boss.stop({ graceful: true, timeout: 5000 });
  }
}

/** The attempt that was handed out, so that a later one is left alone. */
const held = ({ job, handedOut }: JobHandle) => ({
  queue: queueOf(job.agent),
  attempt: { id: job.id, retryCount: handedOut },
});

const affected = (reply: object): number => Number((reply as { affected?: number }).affected ?? 0);

function mustHold({ job }: JobHandle, reply: object): void {
  if (affected(reply) !== 1) throw new TmError('TM1813', job.id);
}

async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw queueError(error);
  }
}

function queueError(error: unknown): unknown {
  if (error instanceof TmError) return error;
  const { code = '', message } = error as { code?: string; message?: string };
  const isGone = /^(E[A-Z]+|08...|57P0.|28...|3D000|25P03)$/.test(code);
  return new TmError(isGone ? 'TM1301' : 'TM1303', `jobs: ${message ?? String(error)}`, { cause: error });
}
