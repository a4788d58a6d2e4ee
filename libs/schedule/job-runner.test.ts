import { expect, test, vi } from 'vitest';
import { TmError } from '../model/errors.ts';
import type { DueJob } from './job.ts';
import { type JobRunnerDeps, runJobs } from './job-runner.ts';
import type { HandedJob } from './queue.ts';

const NOW = new Date('2026-03-01T00:00:00Z');
const handedJob = (id: string) => ({ job: { id, agent: 'host' } as DueJob, handedOut: 0 });

/** A queue of these jobs that notes what it is told. */
function rigOf(
  ids: readonly string[],
  changes: Partial<JobRunnerDeps & { heartbeat: () => Promise<void> }> = {},
) {
  const left = ids.map(handedJob);
  const told: string[] = [];
  const errors: unknown[] = [];
  const stop = new AbortController();
  const deps: JobRunnerDeps = {
    queue: {
      async fetch(): Promise<HandedJob | undefined> {
        const next = left.shift();
        if (!next) stop.abort();
        return next;
      },
      heartbeat: changes.heartbeat ?? (async () => {}),
      done: async ({ job }, { backup, at }) => void told.push(`done ${job.id} ${backup} ${at.toISOString()}`),
      fail: async ({ job }, { code }) => void told.push(`fail ${job.id} ${code}`),
    },
    agent: 'host',
    execute: async ({ id }) => `backup of ${id}`,
    now: () => NOW,
    onError: (error) => errors.push(error),
    heartbeatMs: 1,
    retryMs: 1,
    ...changes,
  };
  return { deps, told, errors, stop, run: () => runJobs(deps, stop.signal) };
}

test('jobs are done one after the other, and what became of them is told', async () => {
  const { run, told } = rigOf(['a', 'b', 'c'], {
    execute: async ({ id }) => {
      if (id === 'b') throw new TmError('TM1501', 'x');
      if (id === 'c') throw new Error('unforeseen');
      return `backup of ${id}`;
    },
  });
  await run();
  expect(told).toEqual([`done a backup of a ${NOW.toISOString()}`, 'fail b TM1501', 'fail c TM1099']);
});

test('a job that went to somebody else is given up and nothing is told of it', async () => {
  const { run, told } = rigOf(['a'], {
    heartbeat: async () => {
      throw new TmError('TM1813');
    },
    execute: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new TmError('TM1508')));
      }),
  });
  await run();
  expect(told).toEqual([]);
});

test('heartbeats that can not be sent end no backup', async () => {
  let beats = 0;
  const { run, told, errors } = rigOf(['a'], {
    heartbeat: async () => {
      beats++;
      throw new TmError('TM1805');
    },
    execute: async () => {
      await vi.waitUntil(() => beats >= 3);
      return 'made';
    },
  });
  await run();
  expect(told).toEqual([`done a made ${NOW.toISOString()}`]);
  expect(errors.length).toBeGreaterThanOrEqual(3);
});

test('who is stopped gives up what is under way and says so', async () => {
  const { run, told, stop } = rigOf(['a'], {
    execute: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new TmError('TM1508')));
        stop.abort();
      }),
  });
  await run();
  expect(told).toEqual(['fail a TM1508']);
});

test('an error of the queue is told, and asking goes on', async () => {
  const { deps, told, errors, stop } = rigOf(['a']);
  let asked = 0;
  const { fetch } = deps.queue;
  const broken = async (agent: string, wait: Parameters<typeof fetch>[1]) => {
    if (++asked === 1) throw new TmError('TM1301');
    return fetch(agent, wait);
  };
  await runJobs({ ...deps, queue: { ...deps.queue, fetch: broken } }, stop.signal);
  expect(errors).toEqual([expect.objectContaining({ code: 'TM1301' })]);
  expect(told).toHaveLength(1);
});
