import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Line, Place, type Result } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { ScriptedGcs } from './scripted-gcs.ts';

const TREE = join(import.meta.dirname, '../cycle/tree.py');
const DIFF = join(import.meta.dirname, '../cycle/treediff.py');

let gcs: ScriptedGcs;
let place: Place;
let source: string;
const labels: string[] = [];

beforeAll(async () => {
  gcs = await ScriptedGcs.start({ buckets: ['backups'], latency: 2 });
  place = await Place.make('gcs');
  source = place.path('source');
  Object.assign(place.env, { TIDEMARK_STORE: 'gs://backups/site/one', TIDEMARK_GCS_ENDPOINT: gcs.url });
  python(TREE, 'make', source);
});

afterAll(async () => {
  await place?.dispose(place.path('other-home'));
  await gcs?.close();
});

function python(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('python3', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`python3 ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

const expectSame = (a: string, b: string): void =>
  expect(JSON.parse(python(DIFF, a, b))).toEqual({ diff: {}, examples: {} });

/** What a network does in a bad hour: each fault hits what comes next of its kind. */
function badHour(): number {
  gcs.inject({ kind: 'status', status: 503, retryAfter: 1 }, { operation: 'upload', times: 2 });
  gcs.inject({ kind: 'lose-reply' }, { operation: 'upload', nth: 4 });
  gcs.inject({ kind: 'flip-bit-sent' }, { operation: 'upload', nth: 6 });
  gcs.inject({ kind: 'status', status: 429 }, { operation: 'stat', times: 2 });
  gcs.inject({ kind: 'cut', at: 'body' }, { operation: 'read', nth: 2 });
  gcs.inject({ kind: 'flip-bit' }, { operation: 'read', prefix: 'site/one/keys/' });
  gcs.inject({ kind: 'truncate' }, { operation: 'read', nth: 5 });
  gcs.inject({ kind: 'cut', at: 'headers' }, { operation: 'list', nth: 1 });
  return gcs.hits;
}

async function inBadHour(work: () => Promise<Result>): Promise<Result> {
  const before = badHour();
  try {
    return await work();
  } finally {
    expect(gcs.hits).toBeGreaterThan(before + 2);
    gcs.clearFaults();
  }
}

test('init, a full and a differential go into a bucket through its faults', {
  timeout: 240_000,
}, async () => {
  await inBadHour(() => place.ok(['init']));
  const full = await inBadHour(() => place.ok(['backup', source, '--full']));
  expect(full.last).toMatchObject({ type: 'summary', kind: 'full', problems: 0 });
  spawnSync('cp', ['-a', source, place.path('copy0')]);
  python(TREE, 'edit', '1', source);
  spawnSync('cp', ['-a', source, place.path('copy1')]);
  const differential = await inBadHour(() => place.ok(['backup', source]));
  expect(differential.last).toMatchObject({ kind: 'differential', baseline: full.last.label });
  labels.push(full.last.label!, differential.last.label!);
  expect(gcs.bucket('backups').has('site/one/tidemark.json')).toBe(true);
});

test('both restore exactly, and verify reads all of it, through the same faults', {
  timeout: 240_000,
}, async () => {
  for (const [i, label] of labels.entries()) {
    await inBadHour(() => place.ok(['restore', label, '--to', place.path(`restored${i}`)]));
    expectSame(place.path(`copy${i}`), place.path(`restored${i}`));
  }
  const verified = await inBadHour(() => place.ok(['verify', '--read-data']));
  expect(verified.last).toMatchObject({ type: 'summary', findings: 0 });
});

test('doctor says that the bucket answers, and what is wrong where it does not', {
  timeout: 60_000,
}, async () => {
  const finding = (result: Result, name: string): Line | undefined =>
    result.lines.find((line) => line.name === name);
  const sound = await place.run(['doctor']);
  expect(finding(sound, 'store-reachable'), sound.text).toMatchObject({ status: 'ok' });
  expect(finding(sound, 'store')).toMatchObject({ status: 'ok' });
  gcs.rights.delete('get');
  const refused = await place.run(['doctor']);
  gcs.rights.add('get');
  expect(finding(refused, 'store-reachable')?.status).toBe('failed');
  expect(finding(refused, 'store-reachable')?.message).toContain('storage.objects.get');
});

test('a bucket that does not exist is named, and is not made', { timeout: 60_000 }, async () => {
  const env = { TIDEMARK_HOME: place.path('other-home'), TIDEMARK_STORE: 'gs://not-there/x' };
  const failed = await place.run(['backup', source], env);
  expect(failed.status).toBe(10);
  expect(failed.last).toMatchObject({ type: 'error', code: 'TM1202' });
  expect(failed.last.message).toContain('the bucket not-there does not exist');
});

test('a writer that may not delete does all but prune', { timeout: 120_000 }, async () => {
  gcs.rights.delete('delete');
  writeFileSync(join(source, 'doomed'), randomBytes(3_000_000));
  await inBadHour(() => place.ok(['backup', source]));
  rmSync(join(source, 'doomed'));
  await place.ok(['backup', source, '--full']);
  await place.ok(['expire', source, '--keep-last', '1']);
  const pruned = await place.run(['prune']);
  expect(pruned.last).toMatchObject({ type: 'error', code: 'TM1214' });
  expect(pruned.last.message).toContain('storage.objects.delete');
  gcs.rights.add('delete');
});

test('expire and prune free the bucket, what is kept is whole', { timeout: 120_000 }, async () => {
  const before = gcs.bucket('backups').size;
  await inBadHour(() => place.ok(['prune']));
  expect(gcs.bucket('backups').size).toBeLessThan(before);
  await place.ok(['verify', '--read-data']);
});

test('the registry is rebuilt from the bucket alone in a new home, through its faults', {
  timeout: 120_000,
}, async () => {
  const env = { TIDEMARK_HOME: place.path('other-home') };
  const identity = place.path('home', 'identity');
  await inBadHour(() => place.ok(['registry', 'rebuild', '--identity', identity, '--take-over'], env));
  const restored = place.path('restored-anew');
  await place.ok(['restore', 'latest', '--to', restored, '--identity', identity], env);
  expectSame(source, restored);
});
