import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, Rig, run, type Said } from './rig.ts';

let rig: Rig;
let source: string;
const labels: string[] = [];
/** Data keys that each backup brought. */
const keys: string[][] = [];

const files = (folder: string): string[] => run('find', folder, '-type', 'f').trim().split('\n').toSorted();
const nameOf = (file: string): string => file.slice(rig.store.length + 1);
const findingsOf = ({ lines }: Said) => lines.filter(({ type }) => type === 'finding');

/** A home that holds the identity and nothing else. */
function newHome(home: string): string {
  mkdirSync(rig.path(home), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path(home, 'identity'));
  return home;
}

function expectRestores(home: string, rounds: readonly number[]): void {
  for (const round of rounds) {
    const target = rig.path(`${home}-${round}`);
    rig.done(home, 'restore', labels[round]!, '--to', target);
    expectSame(rig.path(`copy${round}`), target);
  }
}

beforeAll(() => {
  rig = new Rig('rebuild-damaged');
  source = rig.path('source');
  rig.makeTree(source);
  for (let round = 0; round <= 1; round++) {
    const before = new Set(round > 0 ? files(rig.path('store', 'keys', 'data')) : []);
    if (round > 0) rig.editTree(source, round);
    labels.push(rig.done('home', 'backup', source, '--tag', `round=${round}`).last.label!);
    keys.push(files(rig.path('store', 'keys', 'data')).filter((one) => !before.has(one)));
    run('cp', '-a', source, rig.path(`copy${round}`));
  }
}, 60_000);
afterAll(() => rig.close());

test('a backup whose data key is lost is named, and the others are rebuilt', { timeout: 60_000 }, () => {
  const home = newHome('keyless');
  const [key] = keys[1]!;
  renameSync(key!, rig.path('key'));
  const said = rig.tidemark(home, ['registry', 'rebuild']);
  expect(said.status).toBe(4);
  expect(findingsOf(said)).toEqual([
    expect.objectContaining({
      code: 'TM1404',
      object: expect.stringMatching(/^journal\//),
      message: expect.stringContaining(nameOf(key!)),
    }),
    expect.objectContaining({ code: 'TM1404', label: labels[1] }),
  ]);
  expect(rig.done(home, 'backups').lines.map(({ label }) => label)).toEqual([labels[0]]);
  expectRestores(home, [0]);
  renameSync(rig.path('key'), key!);
  expect(rig.done(home, 'registry', 'rebuild').last).toMatchObject({ findings: 0, backups: 2 });
  expectRestores(home, [1]);
});

test('what a root looked like comes back, so that a replaced one is refused by the first backup after a rebuild', {
  timeout: 60_000,
}, () => {
  renameSync(source, rig.path('aside'));
  mkdirSync(source);
  writeFileSync(rig.path('source', 'other'), 'of another disk');
  rmSync(rig.path('home', 'state'), { recursive: true, force: true });
  const said = rig.tidemark('keyless', ['backup', source]);
  expect(said.last).toMatchObject({ type: 'error', code: 'TM1105' });
  rmSync(source, { recursive: true });
  renameSync(rig.path('aside'), source);
  expect(rig.done('keyless', 'backup', source).last).toMatchObject({ kind: 'differential', deleted: 0 });
});

test('a store that lost its tidemark.json and the claim of its owner is rebuilt, and is whole again but for the claim', {
  timeout: 60_000,
}, () => {
  const [newest] = files(rig.path('store', 'owner')).slice(-1);
  rmSync(newest!);
  rmSync(rig.path('store', 'tidemark.json'));
  const home = newHome('nameless');
  const said = rig.tidemark(home, ['registry', 'rebuild']);
  expect(said.status).toBe(4);
  expect(findingsOf(said).map(({ code, object }) => [code, object])).toEqual([['TM1205', 'tidemark.json']]);
  expectRestores(home, [0, 1]);
  expect(rig.done(home, 'backup', source).last).toMatchObject({ kind: 'differential', added: 0, deleted: 0 });
  expect(rig.done(home, 'verify').last).toMatchObject({ findings: 0 });
});

test('a claim in the middle that is altered is named once, and gone on without', { timeout: 60_000 }, () => {
  rig.done('nameless', 'registry', 'rebuild');
  const claims = files(rig.path('store', 'owner'));
  rmSync(claims[1]!);
  writeFileSync(claims[1]!, 'nothing');
  const object = nameOf(claims[1]!);
  const verified = rig.tidemark('nameless', ['verify']);
  expect(verified).toMatchObject({ status: 4 });
  expect(findingsOf(verified)).toEqual([expect.objectContaining({ code: 'TM1206', object })]);
  const said = rig.tidemark('nameless', ['registry', 'rebuild']);
  expect(findingsOf(said)).toEqual([expect.objectContaining({ code: 'TM1206', object })]);
  expect(findingsOf(rig.done('nameless', 'verify'))).toEqual([
    expect.objectContaining({ notice: true, object }),
  ]);
  expect(rig.done('nameless', 'registry', 'rebuild').last).toMatchObject({ findings: 0 });
});

test('a newest backup and a baseline that have expired are not listed, and the next backup is counted from them', {
  timeout: 60_000,
}, async () => {
  const listed = rig.done('nameless', 'backups').lines;
  const seqs = listed.map(({ seq }) => seq as number);
  await rig.withEngine('nameless', async (engine) => {
    const { uid } = (await engine.registry.backups.sources())[0]!;
    const record = { kind: 'expiry' as const, source: uid, sourceSeqs: seqs, reason: 'test' };
    await engine.decide([record], [], (head) => engine.registry.journal.setHead(head));
  });
  expect(rig.done('nameless', 'registry', 'rebuild').last).toMatchObject({ findings: 0, backups: 0 });
  expect(rig.done('nameless', 'backups').lines).toEqual([]);
  writeFileSync(rig.path('source', 'new'), 'since then');
  const next = rig.done('nameless', 'backup', source).last;
  expect(next).toMatchObject({ kind: 'differential', added: 1, deleted: 0, newBytes: 10 });
  rig.done('nameless', 'restore', next.label!, '--to', rig.path('next'));
  expectSame(source, rig.path('next'));
});
