import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, expire, Rig, run } from './rig.ts';

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
