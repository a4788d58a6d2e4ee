import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, MAIN, Rig } from './rig.ts';

let rig: Rig;
let source: string;
/** What `backups` says before the registry is lost. */
let backups: unknown[];

const listed = () => rig.done('killed', 'backups').lines;

beforeAll(() => {
  rig = new Rig('rebuild-faults');
  source = rig.path('source');
  rig.makeTree(source);
  rig.done('home', 'backup', source);
  writeFileSync(rig.path('source', 'new'), 'of the differential');
  rig.done('home', 'backup', source);
  backups = rig.done('home', 'backups').lines;
  mkdirSync(rig.path('killed'), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path('killed', 'identity'));
}, 60_000);
afterAll(() => rig.close());

test('a rebuild that SIGKILL ends anywhere is run again', { timeout: 180_000 }, async () => {
  let killed = 0;
  for (const delay of [300, 600, 900, 1100, 1300, 1600]) {
    const child = spawn(process.execPath, [MAIN, 'registry', 'rebuild'], {
      env: rig.env('killed'),
      stdio: 'ignore',
    });
    const ended = new Promise<NodeJS.Signals | null>((resolve) =>
      child.once('exit', (_code, signal) => resolve(signal)),
    );
    setTimeout(() => child.kill('SIGKILL'), delay);
    if ((await ended) !== 'SIGKILL') continue;
    killed++;
    // Either it was whole, or nobody gets to work with half of it.
    const { status, last, lines } = rig.tidemark('killed', ['backups']);
    if (status === 0) expect(lines).toEqual(backups);
    else expect(last).toMatchObject({ code: expect.stringMatching(/^TM120[78]$/) });
  }
  expect(killed).toBeGreaterThan(0);
  rig.done('killed', 'registry', 'rebuild', '--take-over');
  expect(listed()).toEqual(backups);
  rig.done('killed', 'restore', 'latest', '--to', rig.path('restored'));
  expectSame(source, rig.path('restored'));
});

test('data of another Postgres, or what is left of it, is set aside and rebuilt', {
  timeout: 120_000,
}, async () => {
  await stopEmbeddedPostgres(rig.path('killed'));
  writeFileSync(rig.path('killed', 'registry', 'data', 'PG_VERSION'), '17\n');
  expect(rig.tidemark('killed', ['backups'])).toMatchObject({ status: 1, last: { code: 'TM1302' } });
  rig.done('killed', 'registry', 'rebuild');
  expect(readdirSync(rig.path('killed', 'registry'))).toContain('data.old-17');
  expect(listed()).toEqual(backups);
  await stopEmbeddedPostgres(rig.path('killed'));
  writeFileSync(rig.path('killed', 'registry', 'data', 'global', 'pg_control'), 'nonsense');
  rig.done('killed', 'registry', 'rebuild');
  expect(listed()).toEqual(backups);
});

test('what cannot be rebuilt is refused before anything is touched', () => {
  const store = rig.path('elsewhere');
  mkdirSync(rig.path('other'), { mode: 0o711 });
  expect(rig.tidemark('other', ['init'], { TIDEMARK_STORE: store }).status).toBe(0);
  const rebuild = ['registry', 'rebuild', '--take-over'];
  expect(rig.tidemark('killed', rebuild, { TIDEMARK_STORE: store })).toMatchObject({
    status: 1,
    last: { code: 'TM1401' },
  });
  const identity = ['--identity', rig.path('other', 'identity')];
  expect(rig.tidemark('killed', [...rebuild, ...identity], { TIDEMARK_STORE: store })).toMatchObject({
    status: 10,
    last: { code: 'TM1203' },
  });
  expect(rig.tidemark('killed', rebuild, { TIDEMARK_STORE: rig.path('nowhere') })).toMatchObject({
    status: 10,
    last: { code: 'TM1202' },
  });
  const [writer] = readdirSync(rig.path('store', 'journal'));
  const second = rig.path('store', 'journal', writer!, '00000000', '0000000000000002');
  renameSync(second, rig.path('away'));
  expect(rig.tidemark('killed', rebuild)).toMatchObject({ status: 4, last: { code: 'TM1212' } });
  renameSync(rig.path('away'), second);
  expect(rig.tidemark('killed', ['registry', 'forget'])).toMatchObject({
    status: 2,
    last: { code: 'TM1001' },
  });
  expect(listed()).toEqual(backups);
});
