import { type BackupFact, dueSlots, type PlannedSource } from './due-slots.ts';
import { type DueJob, type JobInfo, jobIdsOf } from './job.ts';
import { plan } from './planner.ts';
import type { JobDesk, JobQueue } from './queue.ts';

export interface BackupFacts {
  readonly backups: readonly BackupFact[];
  /** A backup of the source is open, sealed or committing. */
  readonly isBusy: boolean;
}

export interface SchedulerDeps {
  readonly queue: JobQueue;
  /** Sources with a policy. One query. */
  readonly sources: () => Promise<readonly PlannedSource[]>;
  /** By source uid, as of `now`; what `dueSlots` needs. A few queries for all. */
  readonly facts: (now: Date, sources: readonly PlannedSource[]) => Promise<ReadonlyMap<string, BackupFacts>>;
  /** The registry's clock. */
  readonly now: () => Promise<Date>;
  /** Resolves after so long, or when the signal is aborted; never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** A turn that failed; the next one comes all the same. */
  readonly onError: (error: unknown) => void;
  /** Between two looks, unless there is an event. Default: 30,000 ms. */
  readonly intervalMs?: number;
}

export interface Turn {
  readonly offered: readonly DueJob[];
  readonly withdrawn: number;
  /** Jobs that went back since their agent was silent. */
  readonly released: number;
}

/**
 * Offers what is due, again and again. Any number of them may run: one at a time decides, on what the others have left,
 * and what it decides is there wholly or not at all. An event that is lost costs one interval.
 */
export class Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #stopping = new AbortController();
  #waking = new AbortController();
  #running: Promise<void> | undefined;

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** A backup was committed or failed, or a policy was changed: look at once. */
  notify(): void {
    this.#waking.abort();
  }

  /** Ends after the turn that is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { pause, onError, intervalMs = 30_000 } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      this.#waking = new AbortController();
      const { signal } = this.#waking;
      try {
        await this.turn();
      } catch (error) {
        onError(error);
      }
      await pause(intervalMs, AbortSignal.any([signal, this.#stopping.signal]));
    }
  }

  async turn(): Promise<Turn> {
    const { queue, now } = this.#deps;
    const released = await queue.releaseExpired(await now());
    const decided = await queue.deciding((desk) => this.#decide(desk));
    await queue.tidy();
    return { ...decided, released };
  }

  /** The clock is read and facts are asked for when nobody else can offer any more. */
  async #decide(desk: JobDesk): Promise<Omit<Turn, 'released'>> {
    const { sources, facts, now: clock } = this.#deps;
    const now = await clock();
    const planned = await sources();
    const known = await facts(now, planned);
    const { offers, withdrawals } = await planAll(now, planned, known, desk);
    const kept = new Set<string>();
    let withdrawn = 0;
    for (const job of withdrawals) {
      if (await desk.withdraw(job)) withdrawn++;
      else kept.add(job.source); // it has just been begun
    }
    const offered = offers.filter(({ source }) => !kept.has(source));
    if (offered.length > 0) await desk.offer(offered, now);
    return { offered, withdrawn };
  }
}

const NOTHING_KNOWN: BackupFacts = { backups: [], isBusy: false };

/** The plans of all sources, and what waits for sources that have no policy any more. */
async function planAll(
  now: Date,
  planned: readonly PlannedSource[],
  known: ReadonlyMap<string, BackupFacts>,
  desk: JobDesk,
): Promise<{ offers: DueJob[]; withdrawals: JobInfo[] }> {
  const factsOf = ({ source }: PlannedSource) => known.get(source) ?? NOTHING_KNOWN;
  const jobs = await jobsOf(now, planned, factsOf, desk);
  const offers: DueJob[] = [];
  const withdrawals: JobInfo[] = [];
  for (const one of planned) {
    const { offer, withdraw } = plan(now, one, { ...factsOf(one), jobs: jobs.get(one.source) ?? [] });
    if (offer) offers.push(offer);
    withdrawals.push(...withdraw);
    jobs.delete(one.source);
  }
  const orphans = [...jobs.values()].flat();
  withdrawals.push(...orphans.filter(({ state, reason }) => state === 'waiting' && reason !== 'manual'));
  return { offers, withdrawals };
}

/** By source: what has not ended, and all attempts at slots that are due. Two queries. */
export async function jobsOf(
  now: Date,
  planned: readonly PlannedSource[],
  factsOf: (source: PlannedSource) => BackupFacts,
  desk: Pick<JobDesk, 'unended' | 'find'>,
): Promise<Map<string, JobInfo[]>> {
  const wanted = planned.flatMap((one) =>
    dueSlots(now, one, factsOf(one).backups).slots.flatMap(({ id }) =>
      jobIdsOf(id).map((attempt) => ({ agent: one.agent, id: attempt })),
    ),
  );
  const found = [...(await desk.unended()), ...(wanted.length > 0 ? await desk.find(wanted) : [])];
  const unique = new Map(found.map((job) => [job.id, job]));
  return Map.groupBy(unique.values(), ({ source }) => source);
}
