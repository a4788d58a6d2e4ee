import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { Place, type Result } from '../command.ts';
import { differences, snapshot } from '../model/snapshot.ts';

let place: Place;

/** A source of a few hundred files, so that a full backup takes a while. */
function makeSource(name: string): string {
  const source = place.path(name);
  for (let d = 0; d < 10; d++) {
    mkdirSync(`${source}/d${d}`, { recursive: true });
    for (let f = 0; f < 100; f++)
      writeFileSync(`${source}/d${d}/f${f}`, Buffer.alloc(30_000, `${name} ${d} ${f} `));
  }
  return source;
}

const failures = (results: readonly Result[]): string[] =>
  results.filter((one) => one.status !== 0).map((one) => `${one.status}: ${one.text}`);

async function expectRestores(source: string): Promise<void> {
  const target = place.path('restored');
  await place.ok(['restore', 'latest', '--source', source, '--to', target]);
  expect(differences(snapshot(source), snapshot(target))).toEqual([]);
  rmSync(target, { recursive: true });
}

beforeAll(async () => {
  place = await Place.make('concurrent');
  for (const name of ['one', 'two', 'three']) await place.ok(['backup', makeSource(name)]);
});

afterAll(async () => {
  await place.dispose();
});

test('different sources are backed up at once, again and again', { timeout: 120_000 }, async () => {
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all(
      ['one', 'two', 'three'].map((name) => {
        writeFileSync(place.path(name, `round${round}`), Buffer.alloc(200_000, `${round} `));
        return place.run(['backup', place.path(name), ...(round === 1 ? ['--full'] : [])]);
      }),
    );
    expect(failures(results)).toEqual([]);
  }
  for (const name of ['one', 'two', 'three']) await expectRestores(place.path(name));
});

test('restore, verify and listing work while a backup runs', { timeout: 120_000 }, async () => {
  const source = place.path('one');
  const before = snapshot(source);
  const listed = (await place.ok(['backups', source])).lines.length;
  const { label } = (await place.ok(['backups', source])).last;
  const running = place.start(['backup', source, '--full']);
  await running.begun();
  const target = place.path('meanwhile');
  const results = await Promise.all([
    place.run(['restore', label!, '--source', source, '--to', target]),
    place.run(['verify', '--read-data']),
    place.run(['backups', source]),
    place.run(['ls', label!, '--source', source]),
    place.run(['diff', label!, '--source', source]),
  ]);
  expect(failures([...results, await running.ended])).toEqual([]);
  expect(differences(before, snapshot(target))).toEqual([]);
  expect((await place.ok(['backups', source])).lines.length).toBe(listed + 1);
});

test('ten listings at once on a server that is not up', { timeout: 120_000 }, async () => {
  await stopEmbeddedPostgres(place.home);
  const results = await Promise.all(Array.from({ length: 10 }, () => place.run(['backups'])));
  expect(failures(results)).toEqual([]);
  expect(new Set(results.map((one) => one.text)).size).toBe(1);
});

test('after a killed backup, commands that start at once settle it together', {
  timeout: 240_000,
}, async () => {
  const source = place.path('two');
  for (let round = 0; round < 3; round++) {
    const running = place.start(['backup', source, '--full']);
    await running.begun();
    await Promise.race([running.ended, new Promise((resolve) => setTimeout(resolve, round * 300))]);
    running.kill();
    await running.ended;
    const results = await Promise.all([
      place.run(['backups']),
      place.run(['backup', source]),
      place.run(['backups']),
      place.run(['backup', place.path('three')]),
      place.run(['backups']),
    ]);
    expect(failures(results)).toEqual([]);
  }
  await expectRestores(source);
});

test('one source at once: one backup gets it, the others are told with 11', {
  timeout: 120_000,
}, async () => {
  const source = place.path('three');
  const results = await Promise.all(Array.from({ length: 4 }, () => place.run(['backup', source, '--full'])));
  const [won, lost] = [results.filter((one) => one.status === 0), results.filter((one) => one.status !== 0)];
  expect(won.length).toBeGreaterThan(0);
  expect(lost.map((one) => [one.status, one.last.code])).toEqual(lost.map(() => [11, 'TM1501']));
  await expectRestores(source);
});
