import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { stopEmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, Rig, run } from './rig.ts';

let rig: Rig;
let source: string;
/** The journal's objects, in order. */
const journal = (): string[] =>
  run('find', rig.path('store', 'journal'), '-type', 'f').trim().split('\n').toSorted();

beforeAll(async () => {
  rig = new Rig('roll-forward');
  source = rig.path('source');
  rig.makeTree(source);
  rig.done('home', 'backup', source);
  await stopEmbeddedPostgres(rig.path('home'));
  run('cp', '-a', rig.path('home', 'registry'), rig.path('copy'));
}, 60_000);
afterAll(() => rig.close());

test('a registry that was restored from an older copy is rolled forward: commits are applied from their runs', {
  timeout: 120_000,
}, async () => {
  rig.editTree(source, 1);
  const { label } = rig.done('home', 'backup', source, '--tag', 'round=1').last;
  run('cp', '-a', source, rig.path('copy1'));
  rig.editTree(source, 2);
  rig.done('home', 'backup', source, '--full');
  rig.editTree(source, 3);
  rig.done('home', 'backup', source);
  rig.done('home', 'pin', label!);
  rig.done('home', 'tag', label!, 'more=tags');
  const { lines } = rig.done('home', 'backups');
  expect(lines).toHaveLength(4);
  await stopEmbeddedPostgres(rig.path('home'));
  rmSync(rig.path('home', 'registry'), { recursive: true });
  renameSync(rig.path('copy'), rig.path('home', 'registry'));
  renameSync(rig.path('home', 'identity'), rig.path('identity'));
  expect(rig.tidemark('home', ['backups'])).toMatchObject({ status: 1, last: { code: 'TM1402' } });
  renameSync(rig.path('identity'), rig.path('home', 'identity'));
  expect(rig.done('home', 'backups').lines).toEqual(lines);
  expect(lines).toContainEqual(
    expect.objectContaining({ label, pinned: true, tags: { round: '1', more: 'tags' } }),
  );
  for (const [name, of, tree] of [
    ['r1', label!, 'copy1'],
    ['r3', 'latest', 'source'],
  ] as const) {
    rig.done('home', 'restore', of, '--to', rig.path(name));
    expectSame(rig.path(tree), rig.path(name));
  }
  const { last } = rig.done('home', 'backup', source);
  expect(last).toMatchObject({
    kind: 'differential',
    baseline: lines[2]!.label,
    added: 0,
    changed: 0,
    newBytes: 0,
  });
  expect(rig.done('home', 'verify', '--read-data').last).toMatchObject({ findings: 0 });
});

test('a journal object that is missing or altered in the middle is named by verify', () => {
  const object = journal()[2]!;
  const name = object.slice(rig.path('store').length + 1);
  const bytes = readFileSync(object);
  const altered = Buffer.from(bytes);
  altered[20]! ^= 1;
  for (const damage of [() => rmSync(object), () => writeFileSync(object, altered)]) {
    damage();
    const { status, lines } = rig.tidemark('home', ['verify']);
    expect(status).toBe(4);
    expect(lines).toContainEqual(expect.objectContaining({ type: 'finding', code: 'TM1212', object: name }));
    rmSync(object, { force: true });
    writeFileSync(object, bytes);
  }
  expect(rig.done('home', 'verify').last).toMatchObject({ findings: 0 });
});

test('a journal that is shorter than what the registry has taken in is refused by what decides, and named by what reads', () => {
  const last = journal().at(-1)!;
  const bytes = readFileSync(last);
  const cut = Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]);
  for (const damage of [() => rmSync(last), () => writeFileSync(last, cut)]) {
    damage();
    for (const args of [
      ['backup', source],
      ['pin', 'latest'],
      ['expire', '--keep-last', '1'],
      ['prune'],
      ['init'],
      ['registry', 'rebuild'],
    ]) {
      const { status, last: said } = rig.tidemark('home', args);
      expect({ status, code: said.code }, args.join(' ')).toEqual({ status: 4, code: 'TM1212' });
      expect(said.message).toContain(last.slice(rig.path('store').length + 1));
    }
    const object = last.slice(rig.path('store').length + 1);
    const warning = { type: 'warning', code: 'TM1212', message: expect.stringContaining(object) };
    expect(rig.done('home', 'backups').lines[0]).toMatchObject(warning);
    const { status, lines } = rig.tidemark('home', ['verify']);
    expect(status).toBe(4);
    expect(lines[0]).toMatchObject(warning);
    expect(lines).toContainEqual(expect.objectContaining({ type: 'finding', code: 'TM1212', object }));
    rmSync(last, { force: true });
    writeFileSync(last, bytes);
  }
  expect(rig.done('home', 'backup', source).last).toMatchObject({ added: 0, changed: 0 });
});
