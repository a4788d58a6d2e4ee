import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { BlockKind } from '../../libs/blocks/intake.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { backUp, expectSame, Rig, run } from './rig.ts';

let rig: Rig;
let source: string;
let labels: string[];
/** What the data keys of the second backup are in. */
let keysOfSecond: string[];

const objects = (folder: string): string[] =>
  run('find', rig.path('store', folder), '-type', 'f').trim().split('\n').toSorted();
const newest = (folder: string): string => objects(folder).at(-1)!;
const identity = (): string => rig.path('store', 'tidemark.json');

/** Takes the objects away or alters them, and puts them back afterwards. */
async function damaged(
  files: readonly string[],
  how: 'lost' | 'altered',
  work: () => void | Promise<void>,
): Promise<void> {
  const whole = files.map((file) => readFileSync(file));
  for (const [i, file] of files.entries()) {
    rmSync(file);
    if (how === 'altered')
      writeFileSync(
        file,
        whole[i]!.map((byte, at) => (at % 7 === 0 ? byte ^ 1 : byte)),
      );
  }
  try {
    await work();
  } finally {
    for (const [i, file] of files.entries()) {
      rmSync(file, { force: true });
      writeFileSync(file, whole[i]!);
    }
  }
}

beforeAll(() => {
  rig = new Rig('damaged');
  source = rig.path('source');
  rig.makeTree(source);
  labels = [rig.done('home', 'backup', source).last.label!];
  const before = new Set(objects('keys/data'));
  writeFileSync(rig.path('source', 'of the second'), 'content of the second backup');
  labels.push(rig.done('home', 'backup', source).last.label!);
  keysOfSecond = objects('keys/data').filter((one) => !before.has(one));
}, 60_000);
afterAll(() => rig.close());

const CASES: readonly [what: string, files: () => string[], how: 'lost' | 'altered', codes: string[]][] = [
  ['the newest object of the journal is missing', () => [newest('journal')], 'lost', ['TM1212']],
  ['the newest object of the journal is altered', () => [newest('journal')], 'altered', ['TM1212']],
  ['the claim of the owner is missing', () => [newest('owner')], 'lost', ['TM1205']],
  ['the claim of the owner is altered', () => [newest('owner')], 'altered', ['TM1206']],
  ['tidemark.json is missing', () => [identity()], 'lost', ['TM1202']],
  ['tidemark.json is altered', () => [identity()], 'altered', ['TM1206']],
  ['all but the journal says nothing', () => [identity(), newest('owner')], 'lost', ['TM1202', 'TM1205']],
];

for (const [what, files, how, codes] of CASES)
  test(`where ${what}, all can be read with a warning, and nothing be decided`, {
    timeout: 60_000,
  }, async () => {
    await damaged(files(), how, () => {
      const target = rig.path('restored');
      const { lines } = rig.done('home', 'restore', 'latest', '--to', target);
      const warnings = lines.filter(({ type }) => type === 'warning');
      expect(warnings.map(({ code }) => code)).toEqual(codes);
      expectSame(source, target);
      const cat = rig.tidemark('home', ['cat', 'latest', 'of the second']);
      expect(cat).toMatchObject({ status: 0, lines: [] });
      expect(cat.text).toMatch(/^content of the second backuptidemark: warning: /);
      const verified = rig.tidemark('home', ['verify', '--read-data']);
      expect(verified.status).toBe(4);
      for (const code of codes)
        expect(verified.lines).toContainEqual(expect.objectContaining({ type: 'finding', code }));
      for (const args of [['backup', source], ['pin', 'latest'], ['prune']])
        expect(rig.tidemark('home', args).last, args[0]).toMatchObject({ type: 'error', code: codes[0] });
    });
    rmSync(rig.path('restored'), { recursive: true });
    expect(rig.done('home', 'verify').last).toMatchObject({ findings: 0 });
  });

test('a folder that holds nothing of the store is no damaged store', () => {
  renameSync(rig.path('store'), rig.path('elsewhere'));
  run('mkdir', rig.path('store'));
  try {
    for (const args of [['backups'], ['verify'], ['restore', 'latest', '--to', rig.path('none')]])
      expect(rig.tidemark('home', args)).toMatchObject({ status: 10, last: { code: 'TM1202' } });
  } finally {
    rmSync(rig.path('store'), { recursive: true });
    renameSync(rig.path('elsewhere'), rig.path('store'));
  }
});

test('files whose data key is lost are named by restore, the others are restored', async () => {
  await damaged(keysOfSecond, 'lost', () => {
    const target = rig.path('without');
    const { status, lines, last } = rig.tidemark('home', ['restore', 'latest', '--to', target]);
    expect(lines.filter(({ type }) => type === 'error')).toEqual([
      expect.objectContaining({ code: 'TM1404', path: 'of the second' }),
    ]);
    expect({ status, problems: last.problems }).toEqual({ status: 3, problems: 1 });
    rig.done('home', 'restore', labels[0]!, '--to', rig.path('first'));
  });
});

test('the head of the journal moves only when all records of an object were taken in', async () => {
  const reading = { onDamage: () => {} };
  const state = () =>
    rig.withEngine(
      'home',
      async ({ registry, damage }) => ({
        heads: await registry.journal.heads(),
        pinned: (await registry.backups.list({})).map(({ pinned }) => pinned),
        damage: damage.map(({ code }) => code),
      }),
      reading,
    );
  const before = await state();
  await rig.withEngine('home', async (engine) => {
    const { uid } = (await engine.registry.backups.sources())[0]!;
    const whole = await engine.seal(Buffer.from('{"tags":{}}'), BlockKind.run);
    const broken = Buffer.from(whole.bytes);
    broken[broken.length - 1]! ^= 1;
    const journal = await engine.journal();
    await journal.append(
      [
        { kind: 'pin', source: uid, sourceSeq: 1, pinned: true },
        { kind: 'tag', source: uid, sourceSeq: 1, sealed: 0 },
      ],
      [broken],
    );
  });
  for (let i = 0; i < 2; i++) {
    const now = await state();
    expect(now).toEqual({ heads: before.heads, pinned: [true, false], damage: [expect.any(String)] });
    await expect(rig.withEngine('home', (engine) => backUp(engine, source))).rejects.toMatchObject({
      code: now.damage[0],
    });
  }
});
