import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Place } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame } from '../rebuild/rig.ts';
import { ScriptedGcs } from './scripted-gcs.ts';

const MIB = 1024 * 1024;
const FILES = 96;

let gcs: ScriptedGcs;
let place: Place;
let source: string;

beforeAll(async () => {
  gcs = await ScriptedGcs.start({ buckets: ['far'] });
  place = await Place.make('latency');
  source = place.path('source');
  Object.assign(place.env, { TIDEMARK_STORE: 'gs://far/place', TIDEMARK_GCS_ENDPOINT: gcs.url });
  for (let folder = 0; folder < 4; folder++) {
    mkdirSync(join(source, `folder-${folder}`), { recursive: true });
    for (let i = 0; i < FILES / 4; i++)
      writeFileSync(join(source, `folder-${folder}`, `file-${i}`), randomBytes(MIB));
  }
  mkdirSync(place.path('empty'));
  await place.ok(['backup', place.path('empty')]); // makes home and store
}, 120_000);

afterAll(async () => {
  await place?.dispose();
  await gcs?.close();
});

async function counted(args: readonly string[], latency: number): Promise<void> {
  gcs.latency = latency;
  gcs.resetCounts();
  await place.ok(args);
  gcs.latency = 0;
}

test('packs go out while others are on their way', { timeout: 180_000 }, async () => {
  await counted(['backup', source, '--full'], 2000);
  expect(gcs.calls('upload')).toBeGreaterThan(6);
  expect(gcs.peakUploads).toBeGreaterThanOrEqual(2);
  expect(gcs.peakUploads).toBeLessThanOrEqual(4); // each is a pack in memory
});

test('a backup without changes waits for the bucket seven times, one after the other', {
  timeout: 60_000,
}, async () => {
  await counted(['backup', source], 300);
  expect(gcs.roundTrips).toBeLessThanOrEqual(7);
});

test('a restore reads ahead, each byte once', { timeout: 180_000 }, async () => {
  const target = place.path('restored');
  await counted(['restore', 'latest', '--source', source, '--to', target], 1000);
  expectSame(source, target);
  expect(gcs.peak).toBeGreaterThanOrEqual(8);
  expect(gcs.traffic.read).toBeLessThan((FILES + 2) * MIB);
  const packs = gcs.calls('read');
  expect(gcs.roundTrips).toBeLessThan(packs / 3);
});

test('one file of a backup is a few bytes, and few waits', { timeout: 60_000 }, async () => {
  const args = ['restore', 'latest', 'folder-1/file-1', '--source', source, '--to', place.path('one')];
  await counted(args, 300);
  expect(gcs.traffic.read).toBeLessThan(2 * MIB);
  expect(gcs.roundTrips).toBeLessThanOrEqual(8);
  const file = join('folder-1', 'file-1');
  expect(spawnSync('cmp', [join(source, file), join(place.path('one'), file)]).status).toBe(0);
});
