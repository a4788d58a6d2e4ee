import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { Place, type Result } from '../command.ts';
import { differences, snapshot } from '../model/snapshot.ts';

let place: Place;

const failures = (results: readonly Result[]): string[] =>
  results.filter((one) => one.status !== 0).map((one) => `${one.status}: ${one.text}`);

beforeAll(async () => {
  place = await Place.make('first-run');
  for (const name of ['one', 'two', 'three']) {
    mkdirSync(place.path(name));
    for (let i = 0; i < 30; i++)
      writeFileSync(place.path(name, `f${i}`), Buffer.alloc(20_000, `${name} ${i} `));
  }
});

afterAll(async () => {
  await place.dispose(place.path('fresh'));
});

test('first runs at once on an empty home make one store, and each backs up its folder', {
  timeout: 120_000,
}, async () => {
  const sources = ['one', 'two', 'three'].map((name) => place.path(name));
  const results = await Promise.all(sources.map((source) => place.run(['backup', source])));
  expect(failures(results)).toEqual([]);
  for (const source of sources) {
    const target = `${source}-restored`;
    await place.ok(['restore', 'latest', '--source', source, '--to', target]);
    expect(differences(snapshot(source), snapshot(target))).toEqual([]);
  }
  expect((await place.ok(['verify', '--read-data'])).last).toMatchObject({ findings: 0 });
});

test('many commands at once on an empty home all end well', { timeout: 120_000 }, async () => {
  const env = { TIDEMARK_HOME: place.path('fresh') };
  const inits = await Promise.all(Array.from({ length: 6 }, () => place.run(['init'], env)));
  expect(failures(inits)).toEqual([]);
  expect((await place.ok(['verify'], env)).last).toMatchObject({ findings: 0 });
});

/** Runs a first backup up to `isTime`, kills it, and expects the next one to work. */
async function expectFirstRunKilled(name: string, isTime: (home: string) => boolean): Promise<void> {
  const source = place.path('one');
  const home = place.path(name);
  const env = { TIDEMARK_HOME: home };
  const running = place.start(['backup', source], env);
  let isOver = false;
  running.ended.then(() => {
    isOver = true;
  });
  while (!isOver && !isTime(home)) await new Promise((resolve) => setImmediate(resolve));
  running.kill();
  await running.ended;
  const next = await place.run(['backup', source], env);
  const verified = await place.run(['verify', '--read-data'], env);
  await stopEmbeddedPostgres(home);
  rmSync(home, { recursive: true });
  expect(failures([next, verified]), name).toEqual([]);
}

test('a first run that is killed at any moment leaves a home in which the next one works', {
  timeout: 240_000,
}, async () => {
  for (const delay of [150, 500, 900]) {
    const until = performance.now() + delay;
    await expectFirstRunKilled(`killed after ${delay} ms`, () => performance.now() >= until);
  }
});

test('a first run that is killed while it makes its store leaves a home in which the next one works', {
  timeout: 240_000,
}, async () => {
  const moments = ['identity', 'store/keys', 'store/tidemark.json', 'store/owner', 'store/journal'];
  for (const file of moments)
    await expectFirstRunKilled(`killed at ${file.replace('/', ' ')}`, (home) => existsSync(join(home, file)));
});
