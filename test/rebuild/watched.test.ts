import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { backUp, Rig, run } from './rig.ts';

/** What each backup was told of gaps: nobody watched, nothing was missed, two reasons. */
const GAPS = [undefined, [], ['agent-down', 'overflow']] as const;
const EXPECTED = [null, [], ['agent-down', 'overflow']];

let rig: Rig;
const gapsOf = (home: string) => rig.done(home, 'backups').lines.map(({ gaps }) => gaps);

beforeAll(async () => {
  rig = new Rig('watched');
  mkdirSync(rig.path('source'));
  for (const [round, gaps] of GAPS.entries()) {
    writeFileSync(rig.path('source', `file${round}`), String(round));
    await rig.withEngine('home', (engine) => backUp(engine, rig.path('source'), undefined, gaps));
    if (round > 0) continue;
    await stopEmbeddedPostgres(rig.path('home'));
    run('cp', '-a', rig.path('home', 'registry'), rig.path('copy'));
  }
}, 60_000);
afterAll(() => rig.close());

test('an older registry that is rolled forward has the gaps of backups too', async () => {
  expect(gapsOf('home')).toEqual(EXPECTED);
  await stopEmbeddedPostgres(rig.path('home'));
  rmSync(rig.path('home', 'registry'), { recursive: true });
  renameSync(rig.path('copy'), rig.path('home', 'registry'));
  expect(gapsOf('home')).toEqual(EXPECTED);
});

test('gaps of a backup are shown, explained to people, and come back when the registry is rebuilt from the store', () => {
  expect(gapsOf('home')).toEqual(EXPECTED);
  const { stdout, stderr } = rig.told('home', 'backups');
  expect(stdout.trim().split('\n').at(-1)).toMatch(/ gap:agent-down,overflow$/);
  expect(stdout.match(/gap:/g), 'two of three have nothing to say').toHaveLength(1);
  expect(stderr).toContain('agent-down: nobody watched');
  mkdirSync(rig.path('new'), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path('new', 'identity'));
  rig.done('new', 'registry', 'rebuild');
  expect(gapsOf('new')).toEqual(EXPECTED);
  rig.done('home', 'registry', 'rebuild', '--take-over');
  expect(gapsOf('home')).toEqual(EXPECTED);
});
