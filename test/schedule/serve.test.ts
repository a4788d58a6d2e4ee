import { writeFileSync } from 'node:fs';
import { expect, vi } from 'vitest';
import { backup } from '../../libs/embedded/backup.ts';
import { EmbeddedSchedule } from '../../libs/embedded/embedded-schedule.ts';
import type { Engine } from '../../libs/embedded/engine.ts';
import { runJobs } from '../../libs/schedule/job-runner.ts';
import type { PolicyRequest } from '../../libs/schedule/policy.ts';
import { type RunningScheduler, startScheduler } from '../../libs/schedule/start-scheduler.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { Rig } from '../rebuild/rig.ts';

let rig: Rig;
beforeAll(() => {
  rig = new Rig('schedule');
  rig.makeTree(rig.path('source'));
}, 60_000);
afterAll(() => rig.close());

/** Schedulers and one agent on the engine, as `serve` has them, while `work` runs. */
async function serving(
  engine: Engine,
  count: number,
  work: (schedulers: readonly RunningScheduler[]) => Promise<void>,
): Promise<void> {
  const onError = (error: unknown) => {
    throw error;
  };
  const setup = { registry: engine.registry, connection: engine.connection, onError, intervalMs: 50 };
  const schedulers = await Promise.all(Array.from({ length: count }, () => startScheduler(setup)));
  const stop = new AbortController();
  const runner = runJobs(
    {
      queue: schedulers[0]!.queue,
      agent: engine.home.agent,
      now: () => new Date(),
      onError,
      execute: async (job, signal) => {
        const { kind, tags, excludes } = job;
        const dir = Buffer.from(job.root, 'base64');
        const how = { oneFileSystem: false, acceptRoot: false, threads: 1 };
        const quiet = { onProblem: () => {}, onProgress: () => {} };
        return (await backup(engine, { dir, kind, tags, excludes, signal, ...how, ...quiet })).label;
      },
    },
    stop.signal,
  );
  try {
    await work(schedulers);
  } finally {
    stop.abort();
    await runner;
    await Promise.all(schedulers.map((one) => one.stop()));
  }
}

test('a policy makes its backups: a full at once, a differential after it, once each with two schedulers', {
  timeout: 90_000,
}, async () => {
  await rig.withEngine('home', async (engine) => {
    const api = new EmbeddedSchedule(engine);
    const request: PolicyRequest = {
      full: { every: '7d' },
      differentialAfterFull: true,
      tags: { by: 'policy' },
      excludes: ['*.tmp'],
    };
    writeFileSync(rig.path('source', 'left-out.tmp'), 'x');
    const { source } = await api.setPolicy(rig.path('source'), request);
    const made = async () =>
      (await engine.registry.backups.list({})).map(({ kind, tags }) => ({ kind, tags }));
    await serving(engine, 2, async (schedulers) => {
      await vi.waitUntil(async () => (await made()).length === 2, { timeout: 30_000, interval: 50 });
      await vi.waitUntil(async () =>
        (await api.jobs({ dir: undefined, limit: 9 })).every(({ state }) => state === 'done'),
      );
      for (const { notify } of schedulers) notify();
    });
    expect(await made()).toEqual([
      { kind: 'full', tags: { by: 'policy' } },
      { kind: 'differential', tags: { by: 'policy' } },
    ]);
    const labels = (await engine.registry.backups.list({})).map(({ label }) => label);
    const jobs = await api.jobs({ dir: rig.path('source'), limit: 9 });
    expect(jobs.map((job) => job.backup).toSorted()).toEqual(labels.toSorted());
    expect(jobs.every((job) => job.source === source)).toBe(true);
    const [scheduled] = await api.schedule(undefined);
    expect(scheduled?.next?.kind).toBe('full');
    await api.close();
  });
  expect(rig.done('home', 'ls', 'latest').lines.map(({ path }) => path)).not.toContain('left-out.tmp');
});
