import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { backUp, expectSame, Rig, run, type Said } from './rig.ts';

let rig: Rig;
let source: string;
/** Full, differential, differential. */
const labels: string[] = [];
/** Objects: 1 store, 2 source, 3 full, 4 pin of it, 5 differential, 6 differential. */
const JOURNAL = { source: 2, full: 3, pin: 4, differential: 5, newest: 6 };

interface Place {
  readonly home: string;
  readonly store: string;
}

const objectsOf = (store: string): string[] =>
  run('find', `${store}/journal`, '-type', 'f').trim().split('\n').toSorted();
const objectOf = ({ store }: Place, number: number): string => objectsOf(store)[number - 1]!;
const nameOf = ({ store }: Place, file: string): string => file.slice(store.length + 1);

/** A copy of the store, and a home that holds the identity and nothing else. */
function copy(name: string): Place {
  const place = { home: `home-${name}`, store: rig.path(`store-${name}`) };
  run('cp', '-a', rig.store, place.store);
  newHome(place.home);
  return place;
}

function newHome(home: string): void {
  mkdirSync(rig.path(home), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path(home, 'identity'));
}

const tidemark = ({ home, store }: Place, ...args: string[]): Said =>
  rig.tidemark(home, args, { TIDEMARK_STORE: store });

function done(place: Place, ...args: string[]): Said {
  const said = tidemark(place, ...args);
  expect(said.status, `${args.join(' ')}: ${said.text}`).toBe(0);
  return said;
}

function alter(file: string): void {
  const bytes = readFileSync(file);
  rmSync(file);
  writeFileSync(
    file,
    bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
  );
}

/** Rebuilds over damage: exit 4 with findings, and what `backups` says then. */
function rebuilt(place: Place, ...args: string[]): { findings: Said['lines']; backups: Said['lines'] } {
  const said = tidemark(place, 'registry', 'rebuild', ...args);
  expect(said, said.text).toMatchObject({ status: 4, last: { type: 'summary' } });
  const findings = said.lines.filter(({ type }) => type === 'finding');
  expect(said.last).toMatchObject({ findings: findings.length });
  return { findings, backups: done(place, 'backups').lines };
}

/** The store is in use again as if nothing had been: backups go on, and verify only mentions the gap. */
function expectGoesOn(place: Place, gone: readonly string[], kind: string): void {
  const next = done(place, 'backup', source).last;
  expect(next).toMatchObject({ kind });
  const target = rig.path(`${place.home}-next`);
  done(place, 'restore', next.label!, '--to', target);
  expectSame(source, target);
  const verified = done(place, 'verify', '--read-data');
  expect(verified.last).toMatchObject({ findings: 0 });
  expect(verified.lines.filter(({ notice }) => notice).map(({ object }) => object)).toEqual(gone);
  const again = done(place, 'registry', 'rebuild').last;
  expect(again).toMatchObject({ findings: 0 });
}

beforeAll(() => {
  rig = new Rig('gaps');
  source = rig.path('source');
  rig.makeTree(source);
  for (let round = 0; round <= 2; round++) {
    if (round > 0) rig.editTree(source, round);
    labels.push(rig.done('home', 'backup', source, '--tag', `round=${round}`).last.label!);
    run('cp', '-a', source, rig.path(`copy${round}`));
    if (round === 0) rig.done('home', 'pin', labels[0]!);
  }
  expect(objectsOf(rig.store)).toHaveLength(6);
}, 60_000);
afterAll(() => rig.close());

test('without the source record all comes back, since every full repeats it; the gap is accepted, and nobody fenced writes on', {
  timeout: 120_000,
}, async () => {
  const place = copy('source');
  const lost = objectOf(place, JOURNAL.source);
  const storeUrl = `file://${place.store}`;
  rmSync(lost);
  await rig.withEngine(
    'home',
    async (old) => {
      const { findings, backups } = rebuilt(place);
      expect(findings).toEqual([expect.objectContaining({ code: 'TM1212', object: nameOf(place, lost) })]);
      expect(backups.map(({ label }) => label)).toEqual(labels);
      await expect(backUp(old, source)).rejects.toMatchObject({ code: 'TM1207' });
    },
    { storeUrl, create: false },
  );
  for (const [round, label] of labels.entries()) {
    const target = rig.path(`source-${round}`);
    done(place, 'restore', label, '--to', target);
    expectSame(rig.path(`copy${round}`), target);
  }
  expectGoesOn(place, [nameOf(place, lost)], 'differential');
});

test('a decision that is altered is lost, and what follows it is not', { timeout: 60_000 }, () => {
  const place = copy('pin');
  const lost = objectOf(place, JOURNAL.pin);
  alter(lost);
  const { findings, backups } = rebuilt(place);
  expect(findings).toEqual([expect.objectContaining({ code: 'TM1212', object: nameOf(place, lost) })]);
  expect(backups.map(({ label, pinned, tags }) => ({ label, pinned, tags }))).toEqual(
    labels.map((label, round) => ({ label, pinned: false, tags: { round: String(round) } })),
  );
  expectGoesOn(place, [nameOf(place, lost)], 'differential');
});

test('a commit that is lost takes its backup along, and those whose runs lay in it; all are named', {
  timeout: 60_000,
}, () => {
  const place = copy('commit');
  const lost = objectOf(place, JOURNAL.differential);
  rmSync(lost);
  const { findings, backups } = rebuilt(place);
  expect(findings).toEqual([
    expect.objectContaining({ code: 'TM1212', object: nameOf(place, lost) }),
    expect.objectContaining({ code: 'TM1212', message: expect.stringContaining('backup 2 of the source') }),
    expect.objectContaining({ code: 'TM1205', label: labels[2] }),
  ]);
  expect(backups.map(({ label }) => label)).toEqual([labels[0]]);
  done(place, 'restore', labels[0]!, '--to', rig.path('commit-0'));
  expectSame(rig.path('copy0'), rig.path('commit-0'));
  expectGoesOn(place, [nameOf(place, lost)], 'differential');
});

test('a source whose only record is lost is named with its backups, and its folder is backed up anew', {
  timeout: 60_000,
}, () => {
  const place = copy('sourceless');
  const lost = [JOURNAL.source, JOURNAL.full].map((number) => objectOf(place, number));
  for (const file of lost) rmSync(file);
  const { findings, backups } = rebuilt(place);
  expect(findings.map(({ code, label }) => ({ code, label }))).toEqual([
    { code: 'TM1212', label: undefined },
    { code: 'TM1212', label: labels[1] },
    { code: 'TM1212', label: labels[2] },
  ]);
  expect(findings[0]!.message).toContain('and 1 after it');
  expect(backups).toEqual([]);
  expect(done(place, 'backup', source).last).toMatchObject({ kind: 'full', newBytes: 0 });
});

test('a registry that still knows what the store has lost is emptied only when told so; no number is used again', {
  timeout: 60_000,
}, () => {
  const place = { home: 'home', store: rig.store };
  const lost = objectOf(place, JOURNAL.newest);
  const bytes = readFileSync(lost);
  rmSync(lost);
  const refused = tidemark(place, 'registry', 'rebuild');
  expect(refused).toMatchObject({ status: 4, last: { type: 'error', code: 'TM1212' } });
  expect(refused.last.message).toContain('--accept-loss');
  expect(done(place, 'backups').lines.filter(({ type }) => type === 'backup')).toHaveLength(3);
  const { findings, backups } = rebuilt(place, '--accept-loss');
  expect(findings).toEqual([expect.objectContaining({ code: 'TM1212', object: nameOf(place, lost) })]);
  expect(backups.map(({ label, pinned }) => [label, pinned])).toEqual([
    [labels[0], true],
    [labels[1], false],
  ]);
  expectGoesOn(place, [nameOf(place, lost)], 'differential');
  expect(done(place, 'backups').lines.map(({ seq }) => seq)).toEqual([1, 2, 4]);
  writeFileSync(lost, bytes); // somebody finds a copy: it is no gap any more, and its backup comes back beside the others
  expect(tidemark(place, 'registry', 'rebuild').status).toBe(0);
  expect(done(place, 'verify').last).toMatchObject({ findings: 0 });
});

test('packs without any journal are refused, and nothing is changed', { timeout: 60_000 }, () => {
  const place = copy('bare');
  renameSync(`${place.store}/journal`, `${place.store}/aside`);
  const before = run('find', place.store);
  expect(tidemark(place, 'registry', 'rebuild')).toMatchObject({ status: 4, last: { code: 'TM1212' } });
  expect(run('find', place.store)).toBe(before);
  renameSync(`${place.store}/aside`, `${place.store}/journal`);
  expect(tidemark(place, 'registry', 'rebuild').last).toMatchObject({ type: 'summary' });
});
