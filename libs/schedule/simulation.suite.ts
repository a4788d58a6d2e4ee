import type { BackupKind } from '../model/label.ts';
import type { BackupFact, PlannedSource } from './due-slots.ts';
import type { HandedJob, JobQueue } from './queue.ts';
import { type BackupFacts, Scheduler } from './scheduler.ts';

const MINUTE = 60_000;
/** What happens takes whole steps. */
export const STEP = 20;
export const START = Date.parse('2026-03-02T00:00:00Z');

export interface SimulatedSource {
  readonly planned: PlannedSource;
  /** Minutes that a full takes; a differential takes a step. */
  readonly fullMinutes: number;
}

interface Running {
  readonly source: SimulatedSource;
  readonly handed: HandedJob;
  readonly queue: JobQueue;
  readonly openedAt: number;
  readonly endsAt: number;
}

/** A fleet whose clock the test owns: sources, agents that complete jobs, and any number of control planes. */
export class Fleet {
  /** In minutes since the start. */
  minute = 0;
  readonly sources: readonly SimulatedSource[];
  /** Agents that are away. */
  readonly away = new Set<string>();
  readonly #backups = new Map<string, (BackupFact & { readonly minute: number })[]>();
  readonly #running = new Set<Running>();

  constructor(sources: readonly SimulatedSource[]) {
    this.sources = sources;
    for (const { planned } of sources) this.#backups.set(planned.source, []);
  }

  get now(): Date {
    return new Date(START + this.minute * MINUTE);
  }

  scheduler(queue: JobQueue): Scheduler {
    return new Scheduler({
      queue,
      sources: async () => this.sources.map(({ planned }) => planned),
      facts: async () => this.#facts(),
      now: async () => this.now,
      pause: async () => {},
      onError: (error) => {
        throw error;
      },
    });
  }

  #facts(): Map<string, BackupFacts> {
    const busy = new Set([...this.#running].map(({ source }) => source.planned.source));
    return new Map(
      [...this.#backups].map(([source, backups]) => [source, { backups, isBusy: busy.has(source) }]),
    );
  }

  /** What was committed of a source: kind and minute of its opening. */
  made(source: string): string[] {
    return this.#backups.get(source)!.map(({ kind, minute }) => `${kind} ${minute}`);
  }

  /** Ends what is done by now. */
  async complete(): Promise<void> {
    for (const one of this.#running) {
      const { source, handed, openedAt, queue } = one;
      if (one.endsAt > this.minute) {
        await queue.heartbeat(handed);
        continue;
      }
      this.#running.delete(one);
      const backups = this.#backups.get(source.planned.source)!;
      const time = new Date(START + openedAt * MINUTE);
      backups.push({
        seq: backups.length + 1,
        kind: handed.job.kind,
        openedAt: time,
        committedAt: this.now,
        minute: openedAt,
      });
      await queue.done(handed, { backup: `${handed.job.kind} ${openedAt}`, at: this.now });
    }
  }

  /** Agents that are there ask every control plane at once, until there is nothing more. */
  async work(queues: readonly JobQueue[]): Promise<void> {
    for (const agent of new Set(this.sources.map(({ planned }) => planned.agent))) {
      for (let found = true; found && !this.away.has(agent); ) {
        const handed = await Promise.all(queues.map((queue) => queue.fetch(agent, { waitMs: 0 })));
        handed.forEach((one, i) => {
          if (one) this.#begin(one, queues[i]!);
        });
        found = handed.some((one) => one !== undefined);
      }
    }
  }

  #begin(handed: HandedJob, queue: JobQueue): void {
    const source = this.sources.find(({ planned }) => planned.source === handed.job.source)!;
    if ([...this.#running].some((one) => one.source === source))
      throw new Error(`two jobs of ${handed.job.source} at once`);
    const minutes = handed.job.kind === 'full' ? source.fullMinutes : STEP;
    const openedAt = this.minute;
    this.#running.add({ source, handed, queue, openedAt, endsAt: openedAt + minutes });
  }

  /** The agent is gone with what it was doing; gives how many jobs that was. */
  crash(agent: string): number {
    const lost = [...this.#running].filter(({ source }) => source.planned.agent === agent);
    for (const one of lost) this.#running.delete(one);
    this.away.add(agent);
    return lost.length;
  }
}

/** A time in which nothing of a source begins: [from, until) in minutes. */
export type Outage = readonly [from: number, until: number];

/**
 * What has to be there after `days`, by arithmetic: a full every week, a differential when it is done, one on every hour;
 * what falls into an outage comes at its end, once; an hour that a backup begins in time for needs no other.
 */
export function expectedBackups(days: number, fullMinutes: number, outages: readonly Outage[]): string[] {
  const end = days * 24 * 60;
  const begins = (minute: number) =>
    outages.reduce((at, [from, until]) => (at >= from && at < until ? until : at), minute);
  const made = new Map<number, BackupKind>();
  const fulls: Outage[] = [];
  for (let week = 0; week < end; week += 7 * 24 * 60) {
    const full = begins(week);
    made.set(full, 'full');
    fulls.push([full, full + fullMinutes]);
    made.set(begins(full + fullMinutes), 'differential');
  }
  for (let hour = 60; hour < end; hour += 60) {
    const at = begins(hour);
    const isCovered = [...made.keys()].some((other) => other >= hour && other <= at);
    const isDuringFull = fulls.some(([from, until]) => at >= from && at < until);
    if (!isCovered && !isDuringFull) made.set(at, 'differential');
  }
  const inOrder = [...made].toSorted(([a], [b]) => a - b);
  return inOrder.filter(([minute]) => minute < end).map(([minute, kind]) => `${kind} ${minute}`);
}
