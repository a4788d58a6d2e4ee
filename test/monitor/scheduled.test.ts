import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { Engine } from '../../libs/embedded/engine.ts';
import { runOwnJobs } from '../../libs/embedded/run-own-jobs.ts';
import type { DueJob } from '../../libs/schedule/job.ts';
import { Place } from '../command.ts';
import { Watch } from './rig.ts';
import { makeTree } from './tree.ts';

const due = (root: string, kind: DueJob['kind'], excludes: readonly string[] = []): DueJob => ({
  id: kind,
  source: 'source',
  agent: 'agent',
  root: Buffer.from(root).toString('base64'),
  kind,
  reason: 'schedule',
  slot: kind,
  dueAt: new Date().toISOString(),
  attempt: 1,
  excludes,
  tags: { by: 'policy' },
});

/** What became of each of the jobs: the label of its backup, or a code. */
async function done(engine: Engine, jobs: readonly DueJob[]): Promise<string[]> {
  const left = [...jobs];
  const ended: string[] = [];
  const stop = new AbortController();
  await runOwnJobs(
    engine,
    {
      threads: 1,
      compression: 'fast',
      onJob: () => {},
      onFailed: () => {},
      onProblem: () => {},
      onError: () => {},
      queue: {
        async fetch(_agent, { signal }) {
          const job = left.shift();
          if (job) return { job, handedOut: 0 };
          stop.abort();
          if (!signal!.aborted) await once(signal!, 'abort');
          return undefined;
        },
        heartbeat: async () => {},
        done: async (_handle, { backup }) => void ended.push(backup),
        fail: async (_handle, { code }) => void ended.push(code),
      },
    },
    stop.signal,
  );
  return ended;
}

it('jobs of a folder that is watched are done by the process that watches it', {
  timeout: 240_000,
}, async () => {
  const place = await Place.make('scheduled');
  onTestFinished(() => place.dispose());
  const tree = place.path('tree');
  makeTree(tree, 50);
  const watch = new Watch(place, [tree, '--every', '1s']);
  onTestFinished(async () => {
    await watch.stop('SIGKILL');
  });
  await watch.watching();
  const engine = await Engine.open({
    home: place.home,
    storeUrl: pathToFileURL(join(place.home, 'store')).href,
    gcsEndpoint: undefined,
    registryUrl: undefined,
    identityFile: undefined,
    passphrase: undefined,
    limits: { upload: undefined, download: undefined },
    create: false,
    onStatus: () => {},
  });
  try {
    appendFileSync(join(tree, 'd0', 'e0', 'f1'), 'changed');
    const labels = await done(engine, [due(tree, 'differential'), due(tree, 'full')]);
    const asked = watch.commits.filter(({ reason }) => reason === 'request');
    expect(asked.map(({ label }) => label)).toEqual(labels);
    expect(asked.map(({ kind }) => kind)).toEqual(['differential', 'full']);
    const made = await engine.registry.backups.list({});
    expect(made.filter(({ tags }) => tags.by === 'policy').map(({ label }) => label)).toEqual(labels);
    await watch.stop();
    const [alone] = await done(engine, [due(tree, 'differential')]);
    expect(alone).toMatch(new RegExp(`^${labels[1]}_`));
  } finally {
    await engine.close();
  }
});
