import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { EntryRecord } from '../../model/records.ts';
import { fromSlashes } from '../../model/tree-path.ts';
import {
  collect,
  commit,
  committedBackup,
  gone,
  inPages,
  keyOf,
  NOW,
  newSource,
  present,
  type Read,
  segmentOf,
} from '../fixtures.suite.ts';
import type { EntryKey, SourceRow } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

async function expectPages<T>(read: Read<T>, keyOfRow: (row: T) => EntryKey, limit: number): Promise<void> {
  expect(await inPages(read, keyOfRow, limit)).toEqual(await collect(read()));
}

/** Directories of the same 300 bytes and more, over what an index holds of a path; the longest is 4,095 bytes. */
const DEEP = Array.from({ length: 14 }, (_, i) => 'abcdefgh'[i % 8]!.repeat(255)).join('/');
const DIRS = [
  '',
  'a',
  'a/b',
  'a!',
  'b',
  '\xff',
  'long',
  DEEP.slice(0, 300),
  DEEP,
  `${DEEP}/x`,
  `${DEEP}/y/z`,
];
const NAMES = ['a', 'b', 'B', '\x01', '\xff\xfe', 'z'.repeat(255)];
const PATHS = DIRS.flatMap((dir) =>
  NAMES.map((name) => Buffer.from(dir ? `${dir}/${name}` : name, 'latin1')),
);
const SCOPES = ['', 'a', 'a/b', 'none', DEEP, `${DEEP}/y`].map((path) =>
  fromSlashes(Buffer.from(path, 'latin1')),
);

/** Reads that go on where an earlier one ended. */
export function pageCases(under: () => RegistryUnderTest): void {
  const registry = () => under().registry;
  const entries = () => registry().entries;
  const self = (key: EntryKey): EntryKey => key;

  async function expectAllReads(source: SourceRow, seqs: readonly number[], limit: number): Promise<void> {
    for (const within of SCOPES)
      for (const depth of ['all', 'children'] as const)
        await expectPages(
          (page) => entries().list(source.id, seqs[1]!, { within, depth, page }),
          self,
          limit,
        );
    for (const [from, to] of [[...seqs], [...seqs].reverse(), [0, seqs[2]!]])
      await expectPages(
        (page) => entries().changes(source.id, from!, to!, page),
        ({ key }) => key,
        limit,
      );
    for (const pattern of ['%', 'b%', '_', 'none'])
      await expectPages((page) => entries().find(source.id, seqs, Buffer.from(pattern), page), self, limit);
  }

  it('gives page by page what it gives at once: lists, changes, finds; paths of any bytes and 4,095 of them', async () => {
    const tree = fc.uniqueArray(fc.nat({ max: PATHS.length - 1 }), { minLength: 1, maxLength: 40 });
    const trees = fc.tuple(tree, tree, tree);
    await fc.assert(
      fc.asyncProperty(trees, fc.integer({ min: 1, max: 9 }), async ([first, second, third], limit) => {
        const source = await newSource(registry());
        const make = (paths: readonly number[], op: (path: number) => EntryRecord) =>
          committedBackup(registry(), source, paths === first ? 'full' : 'differential', paths.map(op));
        await make(first, (path) => present(PATHS[path]!, 1));
        await make(second, (path) => (path % 3 === 0 ? gone(PATHS[path]!) : present(PATHS[path]!, 2)));
        await make(third, (path) => present(PATHS[path]!, (path % 2) + 1));
        await expectAllReads(source, [1, 2, 3], limit);
      }),
      { numRuns: 12 },
    );
  });

  it('goes on after a key that is not there, of a directory that is gone', async () => {
    const source = await newSource(registry());
    const all = ['a/1', 'a/3', 'b/1', 'd/1'].map((path, i) => present(path, i));
    await committedBackup(registry(), source, 'full', all);
    const after = async (path: string) => {
      const page = { after: keyOf(path), limit: 2 };
      return (await collect(entries().list(source.id, 1, { page }))).map(({ dir, name }) => `${dir}/${name}`);
    };
    expect(await after('a/2')).toEqual(['a/3', 'b/1']);
    expect(await after('b/2')).toEqual(['d/1']);
    expect(await after('c/9')).toEqual(['d/1']);
    expect(await after('0')).toEqual(['a/1', 'a/3']);
    expect(await after('d/1')).toEqual([]);
  });

  it('stays at its seq, whatever is committed or under way between two pages', async () => {
    const source = await newSource(registry());
    const names = (n: number) => Array.from({ length: n }, (_, i) => `d${i % 5}/f${i}`);
    await committedBackup(
      registry(),
      source,
      'full',
      names(50).map((name) => present(name, 1)),
    );
    const before = await collect(entries().list(source.id, 1));
    const first = await collect(entries().list(source.id, 1, { page: { limit: 20 } }));
    await committedBackup(
      registry(),
      source,
      'differential',
      names(60).map((name, i) => (i % 2 ? gone(name) : present(name, 2))),
    );
    const open = await registry().backups.open({ sourceId: source.id, kind: 'differential', tags: {} }, NOW);
    await entries().apply(open.backup, [
      segmentOf(
        source,
        0,
        names(70).map((name) => present(name, 3)),
      ),
    ]);
    const page = { after: first.at(-1)!, limit: 1000 };
    const rest = await collect(entries().list(source.id, 1, { page }));
    expect([...first, ...rest]).toEqual(before);
    await registry().backups.fail(open.backup.id, 'TM1508', []);
  });

  it('reads a directory of many entries, and many directories, in pages of any size', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    const many = (batch: number) =>
      Array.from({ length: 1000 }, (_, i) => present(batch < 3 ? `one/f${batch}-${i}` : `d${i}/f`, i));
    for (let batch = 0; batch < 4; batch++)
      await entries().apply(opened.backup, [segmentOf(source, batch, many(batch))]);
    await commit(registry(), opened);
    const list: Read<EntryKey> = (page) => entries().list(source.id, 1, { page });
    const paths = (keys: readonly EntryKey[]) => keys.map(({ dir, name }) => `${dir}/${name}`);
    const all = paths(await collect(list()));
    expect(all).toHaveLength(4000);
    for (const limit of [700, 1000, 3999, 4000, 5000])
      expect(paths(await inPages(list, self, limit))).toEqual(all);
  });

  it('gives nothing for a limit of none', async () => {
    const source = await newSource(registry());
    await committedBackup(registry(), source, 'full', [present('', 0), present('a', 1)]);
    const page = { limit: 0 };
    expect(await collect(entries().list(source.id, 1, { page, within: fromSlashes('a') }))).toEqual([]);
    expect(await collect(entries().changes(source.id, 0, 1, page))).toEqual([]);
    expect(await collect(entries().find(source.id, [1], Buffer.from('%'), page))).toEqual([]);
  });
}
