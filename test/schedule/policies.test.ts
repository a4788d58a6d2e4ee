import { readdirSync, renameSync, rmSync } from 'node:fs';
import { expect } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { Rig, run } from '../rebuild/rig.ts';

let rig: Rig;
let source: string;
let fresh: string;
const shown = (home: string) => rig.done(home, 'policy', 'show').lines;

beforeAll(() => {
  rig = new Rig('policies');
  source = rig.path('source');
  fresh = rig.path('fresh');
  rig.makeTree(source);
  run('mkdir', fresh);
}, 60_000);
afterAll(() => rig.close());

test('a policy is set, shown, replaced and removed; its schedules go on as they were', {
  timeout: 60_000,
}, () => {
  const first = rig.done(
    'home',
    'policy',
    'set',
    source,
    '--full-every',
    '7d',
    '--differential-every',
    '1h',
  ).last;
  expect(first).toMatchObject({
    type: 'summary',
    source,
    policy: { full: { every: '7d' }, differential: { every: '1h' } },
  });
  const again = rig.done(
    'home',
    'policy',
    'set',
    source,
    '--full-every',
    '7d',
    '--differential-after-full',
  ).last;
  const { full } = first.policy as { full: object };
  expect(again.policy).toMatchObject({ full, differentialAfterFull: true });
  expect(again.policy).not.toHaveProperty('differential');
  rig.done('home', 'policy', 'set', fresh, '--full-every', '0 3 * * 0', '--time-zone', 'Europe/Berlin');
  expect(shown('home').map(({ source: one }) => one)).toEqual([source, fresh]);
  expect(rig.done('home', 'policy', 'show', source).lines).toEqual([{ ...again, type: 'policy' }]);
  expect(rig.done('home', 'policy', 'remove', fresh).last).toMatchObject({ removed: true });
  expect(rig.done('home', 'policy', 'remove', fresh).last).toMatchObject({ removed: false });
  expect(shown('home')).toHaveLength(1);
});

test('what makes no sense is refused before anything is made', { timeout: 60_000 }, () => {
  const refused = (code: string, status: number, ...args: string[]) =>
    expect(rig.tidemark('home', ['policy', ...args])).toMatchObject({
      status,
      last: { type: 'error', code },
    });
  refused('TM1812', 2, 'set', source, '--full-every', '3m');
  refused('TM1812', 2, 'set', source, '--full-every', '61 * * * *');
  refused('TM1812', 2, 'set', source, '--full-every', '1d', '--window', '25:00-26:00');
  refused('TM1002', 2, 'set', source, '--full-every', '1d', '--window', 'night');
  refused('TM1812', 2, 'set', source, '--watch-every', '5');
  refused('TM1812', 2, 'set', source, '--full-every', '1d', '--recovery-point', '1d');
  refused('TM1001', 2, 'set', source);
  refused('TM1001', 2, 'set');
  refused('TM1001', 2, 'invent', source);
  refused('TM1703', 10, 'show', rig.path('nowhere'));
  expect(shown('home')).toHaveLength(1);
});

test('what is due is said, and there are no jobs yet', { timeout: 60_000 }, () => {
  expect(rig.done('home', 'schedule').lines).toEqual([
    expect.objectContaining({ type: 'schedule', source, next: expect.objectContaining({ kind: 'full' }) }),
  ]);
  expect(rig.done('home', 'jobs').lines).toEqual([]);
  rig.done('home', 'backup', source);
  const [line] = rig.done('home', 'schedule', source).lines;
  expect(line).toMatchObject({ next: { kind: 'differential' }, job: null });
  expect(line?.lastFull).toEqual(expect.any(String));
});

test('policies come back with a rebuild in a new home, also of folders that have no backup yet', {
  timeout: 90_000,
}, () => {
  rig.done('home', 'policy', 'set', fresh, '--full-every', '1d', '--tag', 'a=b', '--exclude', '*.tmp');
  const watched = ['--watch-every', '5s', '--recovery-point', '2min'];
  expect(rig.done('home', 'policy', 'set', source, ...watched).last).toMatchObject({
    policy: { watch: { every: '5s', recoveryPoint: '2min' } },
  });
  const before = shown('home');
  expect(before).toHaveLength(2);
  run('mkdir', '-p', rig.path('new'));
  run('cp', rig.path('home', 'identity'), rig.path('new', 'identity'));
  rig.done('new', 'registry', 'rebuild', '--take-over');
  expect(shown('new')).toEqual(before);
  rig.done('new', 'policy', 'remove', fresh);
  run('mkdir', '-p', rig.path('newer'));
  run('cp', rig.path('home', 'identity'), rig.path('newer', 'identity'));
  rig.done('newer', 'registry', 'rebuild', '--take-over');
  expect(shown('newer').map(({ source: one }) => one)).toEqual([source]);
});

test('a registry that was restored from an older copy has the newer policy once it is rolled forward', {
  timeout: 90_000,
}, async () => {
  const home = rig.path('newer');
  await stopEmbeddedPostgres(home);
  run('cp', '-a', `${home}/registry`, rig.path('copy'));
  rig.done('newer', 'policy', 'set', source, '--full-every', '2d');
  rig.done('newer', 'policy', 'set', fresh, '--full-every', '3d');
  const after = shown('newer');
  expect(after).toHaveLength(2);
  await stopEmbeddedPostgres(home);
  rmSync(`${home}/registry`, { recursive: true });
  renameSync(rig.path('copy'), `${home}/registry`);
  expect(shown('newer')).toEqual(after);
});

test('a policy is in the journal before it is in the registry, and not readable there', () => {
  const objects = run('find', rig.path('store', 'journal'), '-type', 'f').trim().split('\n');
  expect(objects.length).toBeGreaterThan(5);
  expect(readdirSync(rig.path('store'))).toContain('journal');
  const text = objects.map((object) => run('cat', object)).join('\n');
  expect(text).toContain('"kind":"policy"');
  expect(text).not.toContain('*.tmp');
});
