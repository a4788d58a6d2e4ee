import { expect, test, vi } from 'vitest';
import type { PlannedSource } from './due-slots.ts';
import type { DueJob, JobInfo } from './job.ts';
import { settlePolicy } from './policy.ts';
import type { JobDesk, JobQueue } from './queue.ts';
import { Scheduler, type SchedulerDeps } from './scheduler.ts';

const NOW = new Date('2026-03-01T00:00:00Z');
const NONE = { full: undefined, any: undefined };
const SOURCE: PlannedSource = {
  source: 'uid',
  agent: 'host',
  root: Buffer.from('/srv'),
  policy: settlePolicy({ full: { every: '7d' } }, undefined, NONE, NOW),
};

function rigOf(changes: Partial<SchedulerDeps> & { unended?: JobInfo[]; withdraw?: JobDesk['withdraw'] }) {
  const offered: DueJob[] = [];
  const pauses: (() => void)[] = [];
  const desk: JobDesk = {
    unended: async () => changes.unended ?? [],
    find: async () => [],
    offer: async (jobs) => offered.push(...jobs),
    withdraw: changes.withdraw ?? (async () => true),
  };
  const queue = {
    releaseExpired: async () => 0,
    tidy: async () => 0,
    deciding: <T>(work: (desk: JobDesk) => Promise<T>) => work(desk),
  } as unknown as JobQueue;
  const errors: unknown[] = [];
  const scheduler = new Scheduler({
    queue,
    sources: async () => [SOURCE],
    facts: async () => new Map(),
    now: async () => NOW,
    pause: (_, signal) =>
      new Promise<void>((resolve) => {
        pauses.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
        if (signal.aborted) resolve();
      }),
    onError: (error) => errors.push(error),
    ...changes,
  });
  return { scheduler, offered, pauses, errors };
}

const waiting = (source: string, kind: DueJob['kind']): JobInfo => ({
  id: `job of ${source}`,
  source,
  agent: 'host',
  root: '',
  kind,
  reason: 'schedule',
  slot: `${source} some`,
  dueAt: NOW.toISOString(),
  attempt: 1,
  excludes: [],
  tags: {},
  state: 'waiting',
  offeredAt: NOW,
  endedAt: undefined,
  failure: undefined,
  backup: undefined,
});

test('it looks at once, at events and at intervals, goes on after an error, and stops', async () => {
  let turns = 0;
  const facts = async () => {
    if (++turns === 2) throw new Error('the registry is away');
    return new Map();
  };
  const { scheduler, pauses, errors } = rigOf({ facts });
  scheduler.start();
  await vi.waitUntil(() => pauses.length === 1);
  expect(turns).toBe(1);
  scheduler.notify();
  await vi.waitUntil(() => pauses.length === 2);
  expect(errors).toEqual([new Error('the registry is away')]);
  pauses[1]!();
  await vi.waitUntil(() => pauses.length === 3);
  expect(turns).toBe(3);
  await scheduler.stop();
  expect(turns).toBe(3);
});

test('an event during a turn is not lost', async () => {
  let turns = 0;
  const { scheduler, pauses } = rigOf({
    facts: async () => {
      if (++turns === 1) scheduler.notify();
      return new Map();
    },
  });
  scheduler.start();
  await vi.waitUntil(() => turns === 2 && pauses.length === 2);
  await scheduler.stop();
});

test('what waits for a source without a policy is withdrawn, but not what somebody asked for', async () => {
  const byHand = { ...waiting('other', 'full'), reason: 'manual' as const };
  const withdrawn: string[] = [];
  const { scheduler } = rigOf({
    unended: [waiting('gone', 'full'), byHand],
    withdraw: async ({ source }) => withdrawn.push(source) > 0,
  });
  expect(await scheduler.turn()).toMatchObject({ withdrawn: 1 });
  expect(withdrawn).toEqual(['gone']);
});

test('a full that would supersede a differential comes later if that has just been begun', async () => {
  const { scheduler, offered } = rigOf({
    unended: [waiting('uid', 'differential')],
    withdraw: async () => false,
  });
  expect(await scheduler.turn()).toEqual({ offered: [], withdrawn: 0, released: 0 });
  expect(offered).toEqual([]);
});
