import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { noise, RetainRig, until } from './rig.suite.ts';

/** So slow that a command is still at work when the test has seen that it is. */
const SLOWLY_UP = ['--limit-upload', '10M'];
const SLOWLY_DOWN = ['--limit-download', '20M'];

let rig: RetainRig;

beforeAll(() => {
  rig = new RetainRig('busy');
  rig.edit(1);
  rig.backup();
});
afterAll(() => rig.close());

test('while a backup runs, expire and prune are refused with 11 and change nothing', {
  timeout: 60_000,
}, async () => {
  appendFileSync(join(rig.source, 'grows'), noise(3, 40_000_000));
  const { child, ended } = rig.start('backup', rig.source, ...SLOWLY_UP);
  const packs = rig.packs().length;
  await until('the backup has stored a pack', () => rig.packs().length > packs);
  child.kill('SIGSTOP');
  const before = [rig.objects(), rig.ok('backups').text];
  expect(rig.run('expire', '--keep-last', '1')).toMatchObject({ status: 11 });
  expect(rig.run('prune')).toMatchObject({ status: 11, last: { code: 'TM1501' } });
  expect(rig.run('prune', '--dry-run')).toMatchObject({ status: 11, last: { code: 'TM1501' } });
  expect([rig.objects(), rig.ok('backups').text]).toEqual(before);
  child.kill('SIGCONT');
  expect(await ended).toBe(0);
  const latest = rig.labels().at(-1)!;
  rig.ok('restore', latest, '--to', join(rig.base, 'during'));
  expect(rig.ok('verify', '--read-data').last).toMatchObject({ findings: 0 });
});

test('while a restore runs, prune is refused with 11', { timeout: 60_000 }, async () => {
  const target = join(rig.base, 'slow');
  const { child, ended } = rig.start('restore', 'latest', '--to', target, ...SLOWLY_DOWN);
  await until('the restore has begun', () => existsSync(join(target, 'kept')));
  child.kill('SIGSTOP');
  expect(rig.run('prune')).toMatchObject({ status: 11, last: { code: 'TM1501' } });
  child.kill('SIGCONT');
  expect(await ended).toBe(0);
  rig.ok('prune');
});

test('a backup that was killed leaves nothing that prune does not clear away', {
  timeout: 60_000,
}, async () => {
  appendFileSync(join(rig.source, 'grows'), noise(4, 40_000_000));
  const { child, ended } = rig.start('backup', rig.source, ...SLOWLY_UP);
  const packs = rig.packs();
  await until('the backup has stored a pack', () => rig.packs().length > packs.length);
  child.kill('SIGKILL');
  await ended;
  expect(rig.ok('prune').last.packs).toBeGreaterThan(0);
  expect(rig.packs()).toEqual(packs);
  const label = rig.backup();
  rig.expectRestores(label);
  expect(rig.ok('verify', '--read-data').last).toMatchObject({ findings: 0 });
});
