import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BackupKind } from '../../model/label.ts';
import { RecordOp } from '../../model/records.ts';
import { compareEntries } from '../../model/tree-path.ts';
import type { EntryKey, EntryVersion } from '../port.ts';
import { dropUnseen } from './expiry.ts';
import { committedBackup, RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
const HEAD = { writer: 'w', number: 1, chain: Buffer.alloc(32) };

beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const KEYS: readonly EntryKey[] = [
  ['', ''],
  ['', 'a'],
  ['', 'b'],
  ['a', 'x'],
  ['a', '_%\\'],
].map(([dir, name]) => ({ dir: Buffer.from(dir!), name: Buffer.from(name!) }));

/** Of each path (as KEYS) its content in a backup; 0: it is not there. */
type Tree = readonly number[];

const present = (key: EntryKey, seq: number, content: number): EntryVersion => ({
  ...key,
  seq,
  op: RecordOp.present,
  hash: Buffer.alloc(32, content),
  state: Buffer.from([2, content]), // a directory's, so that there is no digest in it
  hints: Buffer.alloc(32),
});

const gone = (key: EntryKey, seq: number): EntryVersion => ({
  ...key,
  seq,
  op: RecordOp.gone,
  hash: Buffer.alloc(0),
  state: Buffer.alloc(0),
  hints: Buffer.alloc(0),
});

function versionsOf(trees: readonly Tree[]): EntryVersion[] {
  return trees.flatMap((tree, i) =>
    KEYS.flatMap((key, k) => {
      const [before, after] = [trees[i - 1]?.[k] ?? 0, tree[k]!];
      if (before === after) return [];
      return after === 0 ? [gone(key, i + 1)] : [present(key, i + 1, after)];
    }),
  );
}

async function all<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const out: T[] = [];
  for await (const page of pages) out.push(...page);
  return out;
}

/** Everything that readers can ask of the kept seqs. */
async function view(source: number, kept: readonly number[]): Promise<unknown> {
  const { entries } = rig.registry;
  const seen: unknown[] = [];
  for (const seq of kept) {
    seen.push(await all(entries.list(source, seq)), await entries.lookup(source, seq, KEYS));
    for (const other of kept) seen.push(await all(entries.changes(source, seq, other)));
  }
  seen.push(await all(entries.find(source, kept, Buffer.from('%'))));
  return seen;
}

const nameOf = ({ dir, name }: EntryKey) => `${dir}/${name}`;

/** A tree as a rebuild makes it of runs, oldest first. */
function overlay(runs: readonly (readonly EntryVersion[])[]): Map<string, number> {
  const tree = new Map<string, number>();
  for (const { op, state, ...key } of runs.flat()) {
    if (op === RecordOp.gone) tree.delete(nameOf(key));
    else tree.set(nameOf(key), state[1]!);
  }
  return tree;
}

const history = fc.record({
  trees: fc.array(fc.array(fc.constantFrom(0, 1, 2), { minLength: 5, maxLength: 5 }), {
    minLength: 1,
    maxLength: 9,
  }),
  kept: fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
  whole: fc.nat(),
  baseline: fc.nat(),
  rows: fc.integer({ min: 1, max: 12 }),
  open: fc.array(fc.constantFrom(0, 1, 2), { minLength: 5, maxLength: 5 }),
});

test('after dropping, every kept backup reads as before, rebuilds as before, and nothing else is left', {
  timeout: 120_000,
}, async () => {
  const { registry, db } = rig;
  await fc.assert(
    fc.asyncProperty(history, async ({ trees, kept: flags, whole, baseline, rows, open }) => {
      const head = trees.length;
      const wholeUntil = 1 + (whole % head);
      const fulls = [0, baseline % head];
      const kinds = trees.map((_, i): BackupKind => (fulls.includes(i) ? 'full' : 'differential'));
      const source = await rig.source(kinds, [{ fromSeq: 0, toSeq: wholeUntil, records: 1, parts: [] }]);
      const versions = versionsOf(trees);
      // What a backup under way has written ahead of its commit, tombstones too.
      const ahead = versionsOf([...trees, open]).filter(({ seq }) => seq > head);
      await registry.entries.insert(source, [...versions, ...ahead], []);
      const kept = trees
        .map((_, i) => i + 1)
        .filter((seq) => seq === head || seq === fulls[1]! + 1 || flags[seq - 1]);
      await db.query(`update backups set state = 'expired' where source = $1 and seq <> all($2::bigint[])`, [
        source,
        kept,
      ]);
      const runsBefore = await Promise.all(
        trees.map((_, i) => all(registry.entries.versions(source, 0, i + 1))),
      );
      const before = await view(source, kept);

      const dropped = await dropUnseen(db, source, rows);

      expect(await view(source, kept)).toEqual(before);
      const expected = remaining(versions, kept, head, wholeUntil);
      const left = await all(registry.entries.versions(source, 0, head + 1));
      expect(dropped).toBe(versions.length - expected.length);
      expect(await rowsOf(source)).toEqual([...expected, ...ahead].map(rowOf).sort());
      expect(left.length).toBeLessThanOrEqual(KEYS.length);
      // The next backup's run may begin at any run's end from the first one's on, or at 0: deletions must stay deletions.
      for (let from = 0; from <= head; from = Math.max(from + 1, wholeUntil)) {
        const run = await all(registry.entries.versions(source, from, head + 1));
        expect(overlay([from === 0 ? [] : runsBefore[from - 1]!, run])).toEqual(treeOf(open));
      }
      expect(await dropUnseen(db, source, rows)).toBe(0);
    }),
    { numRuns: 60 },
  );
});

const treeOf = (tree: Tree): Map<string, number> =>
  new Map(tree.flatMap((content, k) => (content === 0 ? [] : [[nameOf(KEYS[k]!), content]])));

const rowOf = (one: EntryVersion): string =>
  `${nameOf(one)} ${one.seq} ${one.op} ${one.state.toString('hex')}`;

async function rowsOf(source: number): Promise<string[]> {
  const { rows } = await rig.db.query(
    'select dir_path as dir, name, seq, op, state from entries where source = $1',
    [source],
  );
  return rows.map(rowOf).sort();
}

/** The model: by path, a version is seen by kept seqs up to the next one; a tombstone has to hide something. */
function remaining(
  versions: readonly EntryVersion[],
  kept: readonly number[],
  head: number,
  wholeUntil: number,
): EntryVersion[] {
  return KEYS.flatMap((key) => {
    const own = versions
      .filter((one) => compareEntries(one.dir, one.name, key.dir, key.name) === 0)
      .sort((a, b) => a.seq - b.seq);
    const seen = own.filter((one, i) =>
      kept.some((seq) => seq >= one.seq && seq < (own[i + 1]?.seq ?? head + 1)),
    );
    return seen.filter(
      (one, i) =>
        one.op === RecordOp.present ||
        one.seq > wholeUntil ||
        seen.slice(0, i).some(({ op }) => op === RecordOp.present),
    );
  });
}

test('what a backup under way starts from stays, though it has expired by mistake', async () => {
  const { registry, db } = rig;
  const source = await rig.source(['full', 'full', 'differential']);
  const trees = [
    [1, 1, 1, 1, 1],
    [1, 2, 2, 2, 2],
    [1, 1, 1, 1, 1],
  ];
  await registry.entries.insert(source, versionsOf(trees), []);
  const opened = await registry.backups.open(
    { sourceId: source, kind: 'differential', tags: {} },
    new Date(),
  );
  expect(opened.backup).toMatchObject({ baselineSeq: 2, baseSeq: 3 });
  await db.query(`update backups set state = 'expired' where source = $1 and seq <= 3`, [source]);
  await dropUnseen(db, source);
  expect(overlay([await all(registry.entries.list(source, 2))])).toEqual(treeOf(trees[1]!));
  expect(overlay([await all(registry.entries.list(source, 3))])).toEqual(treeOf(trees[2]!));
  await registry.backups.fail(opened.backup.id, 'TM1508', []);
});

test('head and baseline stay in any state: the next backup is counted from them', async () => {
  const source = await rig.source(['full', 'full', 'differential', 'differential']);
  const trees = [1, 2, 3, 4].map((content) => [content, content, content, content, content]);
  await rig.registry.entries.insert(source, versionsOf(trees), []);
  await rig.db.query(`update backups set state = 'expired' where source = $1`, [source]);
  expect(await dropUnseen(rig.db, source)).toBe(10);
  for (const seq of [2, 4])
    expect(overlay([await all(rig.registry.entries.list(source, seq))])).toEqual(treeOf(trees[seq - 1]!));
});

test('expire spares what is needed, whatever it is asked for, and tells of what went', async () => {
  const { registry } = rig;
  const kinds: BackupKind[] = [
    'full',
    'differential',
    'full',
    'differential',
    'full',
    'differential',
    'full',
    'differential',
  ];
  const source = await rig.source(kinds);
  const backups = await registry.backups.list({ sourceId: source });
  await registry.backups.setPinned(backups[3]!.id, true, HEAD); // seq 4, of full 3
  const opened = await registry.backups.open({ sourceId: source, kind: 'full', tags: {} }, new Date());
  const events = backups.map(({ id, seq }) => ({ type: 'backup.expired', data: { backupId: id, seq } }));
  const expire = (seqs: number[]) =>
    registry.backups.expire(
      backups.filter(({ seq }) => seqs.includes(seq)).map(({ id }) => id),
      HEAD,
      events,
      new Date(),
    );
  await expire([1]); // its differential 2 stays
  expect(await rig.seqs(source)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  await expire([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(await rig.seqs(source)).toEqual([3, 4, 7, 8]);
  await expire([1, 2, 3, 4, 5, 6, 7, 8]);
  await registry.backups.fail(opened.backup.id, 'TM1508', []);
  const told = (await registry.outbox.pending(1000)).filter(({ sourceId }) => sourceId === source);
  expect(told.map(({ data }) => data.seq).sort()).toEqual([1, 2, 5, 6]);
  expect(told.map(({ eventNo }) => eventNo)).toEqual([1, 2, 3, 4]);
});

test('problems of expired backups go, those of kept ones stay', async () => {
  const { registry } = rig;
  const source = await rig.source(['full', 'differential', 'differential']);
  const problem = { dir: Buffer.alloc(0), name: Buffer.from('p'), code: 1110 };
  await registry.entries.insert(
    source,
    [],
    [1, 2, 3].map((seq) => ({ ...problem, seq })),
  );
  await rig.db.query(`update backups set state = 'expired' where source = $1 and seq = 2`, [source]);
  await registry.entries.dropUnseen(source);
  const left = [1, 2, 3].map(async (seq) => (await registry.backups.problems(source, seq)).length);
  expect(await Promise.all(left)).toEqual([1, 0, 1]);
});

test('find gives each path once, with the newest kept backup that holds it', async () => {
  const { registry, db } = rig;
  const source = await rig.source(['full', 'differential', 'differential', 'differential']);
  const trees = [
    [1, 1, 1, 1, 0],
    [1, 1, 0, 2, 1],
    [1, 2, 0, 0, 2],
    [1, 2, 1, 0, 0],
  ];
  await registry.entries.insert(source, versionsOf(trees), []);
  const found = async (kept: number[], like: string) =>
    (await all(registry.entries.find(source, kept, Buffer.from(like)))).map((one) => [nameOf(one), one.seq]);
  expect(await found([1, 2, 3, 4], '%')).toEqual([
    ['/a', 4],
    ['/b', 4],
    ['a/_%\\', 3],
    ['a/x', 2],
  ]);
  expect(await found([4, 1], '%')).toEqual([
    ['/a', 4],
    ['/b', 4],
    ['a/x', 1],
  ]);
  expect(await found([1, 2, 3, 4], '\\_\\%\\\\')).toEqual([['a/_%\\', 3]]);
  expect(await found([1, 2, 3, 4], 'x')).toEqual([['a/x', 2]]);
  expect(await found([], '%')).toEqual([]);
  await db.query(`update backups set state = 'expired' where source = $1 and seq = 2`, [source]);
  await registry.entries.dropUnseen(source);
  expect(await found([1, 3, 4], '%')).toEqual([
    ['/a', 4],
    ['/b', 4],
    ['a/_%\\', 3],
    ['a/x', 1],
  ]);
});

test('all states of a domain come in pages, tombstones left out', async () => {
  const { registry } = rig;
  const source = await rig.source(['full', 'differential']);
  const many = Array.from({ length: 4500 }, (_, i) =>
    present({ dir: Buffer.from('many'), name: Buffer.from(`n${i}`) }, 1, 7),
  );
  const removed = many.slice(0, 10).map((one) => gone(one, 2));
  await registry.entries.insert(source, [...many, ...removed], []);
  const states = (await all(registry.entries.allStates('d'))).filter((state) => state[1] === 7);
  expect(states).toHaveLength(4500);
  expect(await all(registry.entries.allStates('other'))).toEqual([]);
});

test('backups are listed by seq within a source where the clock was set back', async () => {
  const { backups } = rig.registry;
  const source = await rig.source(['full']);
  const other = await rig.source(['full']);
  const times = [5, 60, 2, 4, 61]; // minutes
  for (const [i, minutes] of times.entries()) {
    const backup = committedBackup(source, i + 2, 'differential', 1);
    await backups.restoreBackup(
      { ...backup, openedAt: new Date(Date.UTC(2026, 0, 1) + minutes * 60_000) },
      [],
    );
  }
  expect(await rig.seqs(source)).toEqual([1, 2, 3, 4, 5, 6]);
  const order = (await backups.list({})).filter(({ sourceId }) => [source, other].includes(sourceId));
  expect(order.filter(({ sourceId }) => sourceId === source).map(({ seq }) => seq)).toEqual([
    1, 2, 3, 4, 5, 6,
  ]);
});

test("the registry's clock is Postgres'", async () => {
  const [{ now }] = (await rig.db.query('select clock_timestamp() as now')).rows;
  const ours = await rig.registry.now();
  expect(Math.abs(ours.getTime() - now.getTime())).toBeLessThan(10_000);
});

test('decisions on one source wait for each other, those on another do not', async () => {
  const [one, two] = [await rig.source(['full']), await rig.source(['full'])];
  const steps: string[] = [];
  const gate = Promise.withResolvers<void>();
  const inside = Promise.withResolvers<void>();
  const { backups } = rig.registry;
  const first = backups.deciding(one, async () => {
    inside.resolve();
    await gate.promise;
    steps.push('first');
  });
  await inside.promise;
  const second = backups.deciding(one, async () => {
    steps.push('second');
  });
  await backups.deciding(two, async () => {
    steps.push('other');
  });
  gate.resolve();
  await Promise.all([first, second]);
  expect(steps).toEqual(['other', 'first', 'second']);
});

test("the store's lock: readers share it, deciding to delete is refused meanwhile", async () => {
  const { journal } = rig.registry;
  const refused = await journal.withStoreLock('shared', () =>
    journal.withStoreLock('shared', () =>
      journal.withStoreLock('exclusive-now', async () => 'got it').catch((error) => error.code),
    ),
  );
  expect(refused).toBe('TM1501');
  const error = new Error('not the lock’s');
  await expect(journal.withStoreLock('shared', () => Promise.reject(error))).rejects.toBe(error);
  expect(await journal.withStoreLock('exclusive-now', async () => 'got it')).toBe('got it');
});
