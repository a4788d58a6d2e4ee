import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { expectSame, expire, MAIN, Rig, run } from './rig.ts';

let rig: Rig;
let source: string;
const labels: string[] = [];
/** What the commands say before the registry is lost. */
let before: { backups: unknown[]; diff: unknown[]; ls: unknown[] };

const said = (home: string) => ({
  backups: rig.done(home, 'backups').lines,
  diff: rig.done(home, 'diff', labels[3]!).lines,
  ls: rig.done(home, 'ls', labels[1]!, '-r').lines,
});

/** Every backup that is left, exactly. */
function expectRestores(home: string, rounds = [0, 1, 3]): void {
  for (const round of rounds) {
    const target = rig.path(`${home}-${round}`);
    rig.done(home, 'restore', labels[round]!, '--to', target);
    expectSame(rig.path(`copy${round}`), target);
  }
}

/** A home with the identity and nothing else. */
function newHome(name: string): void {
  mkdirSync(rig.path(name), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path(name, 'identity'));
}

beforeAll(async () => {
  rig = new Rig('rebuild');
  source = rig.path('source');
  rig.makeTree(source);
  for (let round = 0; round <= 3; round++) {
    if (round > 0) rig.editTree(source, round);
    labels.push(rig.done('home', 'backup', source, '--tag', `round=${round}`).last.label!);
    run('cp', '-a', source, rig.path(`copy${round}`));
  }
  rig.done('home', 'tag', labels[1]!, 'marked=later', 'round=');
  rig.done('home', 'pin', labels[0]!);
  mkdirSync(rig.path('second'));
  writeFileSync(rig.path('second', 'file'), 'of a second source');
  rig.done('home', 'backup', rig.path('second'));
  await rig.withEngine('home', (engine) => expire(engine, source, [3]));
  before = said('home');
}, 120_000);

afterAll(() => rig.close());

test('a registry that is lost comes back in a new home from the store alone, and goes on', {
  timeout: 120_000,
}, () => {
  newHome('new');
  const { last, lines } = rig.done('new', 'registry', 'rebuild');
  expect(lines).toHaveLength(1);
  expect(last).toMatchObject({ type: 'summary', sources: 2, backups: 4, findings: 0, generation: 2 });
  expect(said('new')).toEqual(before);
  expect(before.backups).toContainEqual(
    expect.objectContaining({ label: labels[1], tags: { marked: 'later' }, pinned: false }),
  );
  expect(before.backups).toContainEqual(expect.objectContaining({ label: labels[0], pinned: true }));
  expectRestores('new');
  expect(rig.done('new', 'verify', '--read-data').last).toMatchObject({ findings: 0 });
  writeFileSync(rig.path('source', 'after the loss'), 'new');
  const next = rig.done('new', 'backup', source).last;
  expect(next).toMatchObject({ kind: 'differential', baseline: labels[0], added: 1, changed: 0, deleted: 0 });
  rig.done('new', 'restore', next.label!, '--to', rig.path('next'));
  expectSame(source, rig.path('next'));
});

test('the registry that owned the store before can write no more, until it takes the store over', {
  timeout: 120_000,
}, () => {
  for (const args of [['backup', source], ['backups'], ['registry', 'rebuild']])
    expect(rig.tidemark('home', args)).toMatchObject({ status: 10, last: { code: 'TM1207' } });
  const { last } = rig.done('home', 'registry', 'rebuild', '--take-over');
  expect(last).toMatchObject({ backups: 5, findings: 0, generation: 3 });
  expectRestores('home', [1]);
  expect(rig.done('home', 'backup', source).last).toMatchObject({
    kind: 'differential',
    added: 0,
    changed: 0,
  });
  expect(rig.tidemark('new', ['backup', source])).toMatchObject({ status: 10, last: { code: 'TM1207' } });
});

test('a rebuild over the registry that owns the store changes nothing that one sees', () => {
  const { backups } = said('home');
  expect(rig.done('home', 'registry', 'rebuild').last).toMatchObject({ findings: 0, generation: 4 });
  expect(said('home').backups).toEqual(backups);
  expect(rig.done('home', 'backup', source).last).toMatchObject({ added: 0, changed: 0, deleted: 0 });
});

test('a rebuild that SIGKILL ends anywhere is run again', { timeout: 180_000 }, async () => {
  newHome('killed');
  const { backups } = said('home');
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
  expect(killed).toBeGreaterThan(2);
  rig.done('killed', 'registry', 'rebuild', '--take-over');
  expect(said('killed').backups).toEqual(backups);
  expectRestores('killed', [3]);
});

test('data of another Postgres, or what is left of it, is set aside and rebuilt', {
  timeout: 120_000,
}, async () => {
  const { backups } = said('killed');
  await stopEmbeddedPostgres(rig.path('killed'));
  writeFileSync(rig.path('killed', 'registry', 'data', 'PG_VERSION'), '17\n');
  expect(rig.tidemark('killed', ['backups'])).toMatchObject({ status: 1, last: { code: 'TM1302' } });
  rig.done('killed', 'registry', 'rebuild');
  expect(readdirSync(rig.path('killed', 'registry'))).toContain('data.old-17');
  expect(said('killed').backups).toEqual(backups);
  await stopEmbeddedPostgres(rig.path('killed'));
  writeFileSync(rig.path('killed', 'registry', 'data', 'global', 'pg_control'), 'nonsense');
  rig.done('killed', 'registry', 'rebuild');
  expect(said('killed').backups).toEqual(backups);
});

test('what cannot be rebuilt is refused before anything is touched', () => {
  const { backups } = said('killed');
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
  expect(said('killed').backups).toEqual(backups);
});
