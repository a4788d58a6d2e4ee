import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import { PgBossQueue } from './pg-boss-queue.ts';
import { settlePolicy } from './policy.ts';
import type { JobQueue } from './queue.ts';
import type { Scheduler } from './scheduler.ts';
import { expectedBackups, Fleet, type Outage, START, STEP } from './simulation.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const DAYS = 14;
const HOUR = 60;
const DAY = 24 * HOUR;
const NONE = { full: undefined, any: undefined };
const POLICY = settlePolicy(
  { full: { every: '7d' }, differential: { every: '1h' }, differentialAfterFull: true },
  undefined,
  NONE,
  new Date(START),
);

/** All control planes are down. */
const NO_CONTROL_PLANE: Outage = [11 * DAY + 2 * HOUR - STEP, 11 * DAY + 6 * HOUR + STEP];
const AWAY_A_DAY: Outage = [3 * DAY + 5 * HOUR, 4 * DAY + 5 * HOUR];
const AWAY_OVER_A_FULL: Outage = [6 * DAY + 18 * HOUR, 7 * DAY + 18 * HOUR + STEP];
/** The agent crashes a step after it has begun. */
const CRASHED: Outage = [9 * DAY + 10 * HOUR, 9 * DAY + 12 * HOUR + STEP];

/** A control plane dies while it offers some hour's differentials, and one while it offers the second week's fulls. */
const KILLED_AT: readonly number[] = [5 * DAY + 3 * HOUR, 7 * DAY];

const SOURCES: readonly { name: string; agent: string; fullMinutes: number; outages: Outage[] }[] = [
  { name: 'plain', agent: 'one', fullMinutes: STEP, outages: [] },
  { name: 'large', agent: 'one', fullMinutes: 160, outages: [] },
  { name: 'away', agent: 'two', fullMinutes: STEP, outages: [AWAY_A_DAY] },
  { name: 'away-over-full', agent: 'three', fullMinutes: 40, outages: [AWAY_OVER_A_FULL] },
  { name: 'crashed', agent: 'four', fullMinutes: STEP, outages: [CRASHED] },
];

/** A control plane that may be killed when its offers are written and not yet committed. */
class ControlPlane {
  readonly queue: PgBossQueue;
  readonly scheduler: Scheduler;
  isDoomed = false;
  isAlive = true;

  constructor(queue: PgBossQueue, fleet: Fleet) {
    this.queue = queue;
    const doomed: JobQueue = Object.create(queue, {
      deciding: {
        value: (work: Parameters<JobQueue['deciding']>[0]) =>
          queue.deciding((desk) =>
            work({
              ...desk,
              offer: async (jobs, at) => {
                const count = await desk.offer(jobs, at);
                if (this.isDoomed && count > 0) await this.#die();
                return count;
              },
            }),
          ),
      },
      releaseExpired: { value: (at: Date) => queue.releaseExpired(at) },
      tidy: { value: () => queue.tidy() },
    });
    this.scheduler = fleet.scheduler(doomed);
  }

  async #die(): Promise<void> {
    this.isAlive = false;
    await rig.db.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'tidemark jobs' and state = 'idle in transaction'`,
    );
  }

  async turn(): Promise<void> {
    if (!this.isAlive) return;
    const turned = this.scheduler.turn();
    if (this.isDoomed) await turned.catch(() => {});
    else await turned;
  }
}

const LEASE_SECONDS = 2;

/** Two control planes over one fleet; what dies is replaced. */
class Cell {
  readonly #fleet: Fleet;
  readonly opened: ControlPlane[] = [];
  planes: ControlPlane[] = [];
  kills = 0;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get queues(): PgBossQueue[] {
    return this.planes.map(({ queue }) => queue);
  }

  async fill(): Promise<void> {
    while (this.planes.length < 2) {
      const queue = await PgBossQueue.open({ connection: rig.connection, leaseSeconds: LEASE_SECONDS });
      this.planes.push(new ControlPlane(queue, this.#fleet));
      this.opened.push(this.planes.at(-1)!);
    }
  }

  /** All at once; one that is to die comes before, so that it has something to offer. */
  async turn(): Promise<void> {
    for (const doomed of this.planes.filter(({ isDoomed }) => isDoomed)) await doomed.turn();
    const alive = this.planes.filter(({ isAlive }) => isAlive);
    this.kills += this.planes.length - alive.length;
    await Promise.all(alive.map((one) => one.turn()));
    this.planes = alive;
    if (alive.length > 0) await this.fill();
  }
}

/** Agents come and go by the hour's plan. */
function comeAndGo(fleet: Fleet): void {
  for (const { agent, outages } of SOURCES)
    for (const outage of outages) {
      if (fleet.minute === outage[1]) fleet.away.delete(agent);
      if (fleet.minute === outage[0] && outage !== CRASHED) fleet.away.add(agent);
    }
}

async function crash(fleet: Fleet, queue: JobQueue): Promise<void> {
  expect(fleet.crash('four')).toBe(1);
  const isBack = async () => {
    await fleet.complete(); // heartbeats of the others
    await queue.releaseExpired(fleet.now);
    const [job] = await queue.list({ source: 'crashed', limit: 1 });
    return job?.state === 'waiting';
  };
  await vi.waitUntil(isBack, { interval: 100, timeout: 20_000 });
}

async function live(fleet: Fleet, cell: Cell): Promise<void> {
  await cell.fill();
  for (; fleet.minute < DAYS * DAY; fleet.minute += STEP) {
    comeAndGo(fleet);
    if (fleet.minute === NO_CONTROL_PLANE[0]) cell.planes = [];
    if (fleet.minute === NO_CONTROL_PLANE[1]) await cell.fill();
    if (KILLED_AT.includes(fleet.minute)) cell.planes[0]!.isDoomed = true;
    await fleet.complete();
    await cell.turn();
    await fleet.work(cell.queues);
    if (fleet.minute === CRASHED[0]) await crash(fleet, cell.queues[0]!);
  }
  await fleet.complete();
}

test('14 days of a fleet with control planes and agents that come and go: exactly the expected backups, none twice', async () => {
  const fleet = new Fleet(
    SOURCES.map(({ name, agent, fullMinutes }) => ({
      planned: { source: name, agent, root: Buffer.from(`/${name}`), policy: POLICY },
      fullMinutes,
    })),
  );
  const cell = new Cell(fleet);
  await live(fleet, cell);
  expect(cell.kills).toBe(KILLED_AT.length);
  for (const { name, fullMinutes, outages } of SOURCES) {
    const expected = expectedBackups(DAYS, fullMinutes, [...outages, NO_CONTROL_PLANE]);
    expect(fleet.made(name), name).toEqual(expected);
    const jobs = await cell.queues[0]!.list({ source: name, limit: 10_000 });
    expect(jobs.map(({ state }) => state)).toEqual(jobs.map(() => 'done'));
    expect(jobs.map(({ backup }) => backup).toSorted()).toEqual(expected.toSorted());
    expect(new Set(jobs.map(({ slot }) => slot)).size).toBe(jobs.length);
  }
  await Promise.all(cell.opened.map(({ queue }) => queue.close()));
}, 300_000);

test('the expectation says what a person would say', () => {
  const list = expectedBackups(8, 160, []);
  expect(list.slice(0, 4)).toEqual(['full 0', 'differential 160', 'differential 180', 'differential 240']);
  expect(list.filter((one) => one.startsWith('full'))).toEqual(['full 0', `full ${7 * DAY}`]);
  expect(list).toHaveLength(2 + 2 + (8 * 24 - 2 - 2 * 2));
  expect(expectedBackups(1, STEP, [[90, 300]]).slice(0, 5)).toEqual([
    'full 0',
    'differential 20',
    'differential 60',
    'differential 300',
    'differential 360',
  ]);
});
