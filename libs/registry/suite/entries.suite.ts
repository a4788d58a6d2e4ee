import { expect, it } from 'vitest';
import { RecordOp } from '../../model/records.ts';
import { compareEntries, fromSlashes } from '../../model/tree-path.ts';
import {
  codeOf,
  collect,
  commit,
  committedBackup,
  gone,
  hashOf,
  hintsOf,
  kept,
  keyOf,
  NOW,
  newSource,
  present,
  sealOf,
  segmentOf,
} from '../fixtures.suite.ts';
import type { EntryVersion } from '../port.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const path = ({ dir, name }: { dir: Buffer; name: Buffer }): string =>
  [...dir.toString('latin1').split('\0').filter(Boolean), name.toString('latin1')].join('/');
const paths = (versions: readonly Pick<EntryVersion, 'dir' | 'name'>[]): string[] => versions.map(path);

/** Entries as of a seq. */
export function entryCases(under: () => RegistryUnderTest): void {
  const registry = () => under().registry;
  const entries = () => under().registry.entries;

  it('counts a piece once however often it comes, and applies pieces in any order', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    const pieces = [0, 1, 2].map((i) => segmentOf(source, i, [present(`f${i}`, i)]));
    await entries().apply(opened.backup, [pieces[2]!, pieces[0]!]);
    const before = await entries().totals(opened.backup.id);
    await entries().apply(opened.backup, [pieces[0]!, pieces[2]!, pieces[2]!]);
    expect(await entries().totals(opened.backup.id)).toEqual(before);
    expect(before).toMatchObject({ batches: [2], counts: { added: 2 } });
    await entries().apply(opened.backup, [pieces[1]!, pieces[1]!]);
    await commit(registry(), opened);
    expect(paths(await collect(entries().list(source.id, 1)))).toEqual(['f0', 'f1', 'f2']);
  });

  it('seals with the last pieces, and tells who brings further ones of the seal', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    const [first, second, third] = [0, 1, 2].map((i) => segmentOf(source, i, [present(`f${i}`, i)]));
    const seal = sealOf(opened, { batches: [3] });
    expect(await entries().apply(opened.backup, [first!])).toBeUndefined();
    expect(await entries().apply(opened.backup, [second!], seal)).toEqual(seal);
    expect(await registry().backups.get(opened.backup.id)).toMatchObject({ state: 'sealed' });
    expect(await entries().apply(opened.backup, [third!])).toEqual(seal);
    expect(await entries().apply(opened.backup, [third!], sealOf(opened, { batches: [9] }))).toBeDefined();
    expect(await registry().backups.sealOf(opened.backup.id)).toEqual(seal);
    expect((await entries().totals(opened.backup.id)).counts.added).toBe(3);
    await registry().backups.fail(opened.backup.id, 'TM1508', []);
    expect(await codeOf(entries().apply(opened.backup, [first!], seal))).toBe('TM1507');
  });

  it('lets the same pieces be applied by many at once: each counts once', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    const pieces = Array.from({ length: 6 }, (_, i) => segmentOf(source, i, [present(`f${i}`, i)]));
    const other = await under().other();
    await Promise.all(
      [registry(), other, registry(), other].flatMap((one) =>
        pieces.map((piece) => one.entries.apply(opened.backup, [piece])),
      ),
    );
    expect((await entries().totals(opened.backup.id)).counts.added).toBe(6);
    expect(await collect(entries().versions(source.id, 0, 1))).toHaveLength(6);
    await registry().backups.fail(opened.backup.id, 'TM1508', []);
    await other.close();
  });

  it('lets many pieces be applied by two at once in opposite orders: neither waits for the other for ever', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    const other = await under().other();
    for (let round = 0; round < 25; round++) {
      const pieces = Array.from({ length: 40 }, (_, i) =>
        segmentOf(source, round * 40 + i, [present(`f${round}-${i}`, i)], i % 3),
      );
      await Promise.all([
        registry().entries.apply(opened.backup, pieces),
        other.entries.apply(opened.backup, [...pieces].reverse()),
      ]);
    }
    expect((await entries().totals(opened.backup.id)).counts.added).toBe(1000);
    await registry().backups.fail(opened.backup.id, 'TM1508', []);
    await other.close();
  });

  it('changes nothing when everything is applied again after the commit', async () => {
    const source = await newSource(registry());
    const opened = await committedBackup(registry(), source, 'full', [present('a', 1), kept('b')]);
    const before = [
      await collect(entries().list(source.id, 1)),
      await registry().backups.problems(source.id, 1),
    ];
    expect(await codeOf(entries().apply(opened.backup, [segmentOf(source, 0, [present('a', 1)])]))).toBe(
      'TM1507',
    );
    expect(await codeOf(entries().apply(opened.backup, [segmentOf(source, 9, [present('z', 1)])]))).toBe(
      'TM1507',
    );
    const after = [
      await collect(entries().list(source.id, 1)),
      await registry().backups.problems(source.id, 1),
    ];
    expect(after).toEqual(before);
  });

  it('shows as of a seq what that backup saw, whatever came later, and nothing of an open one', async () => {
    const source = await newSource(registry());
    await committedBackup(registry(), source, 'full', [present('', 0), present('a', 1), present('b', 1)]);
    await committedBackup(registry(), source, 'differential', [present('a', 2), gone('b'), present('c', 2)]);
    const open = await registry().backups.open({ sourceId: source.id, kind: 'differential', tags: {} }, NOW);
    await entries().apply(open.backup, [segmentOf(source, 0, [present('a', 3), gone('c'), present('d', 3)])]);
    expect(paths(await collect(entries().list(source.id, 1)))).toEqual(['', 'a', 'b']);
    expect(paths(await collect(entries().list(source.id, 2)))).toEqual(['', 'a', 'c']);
    const keys = ['a', 'b', 'c', 'd', ''].map(keyOf);
    const asOf = async (seq: number) => (await entries().lookup(source.id, seq, keys)).map((one) => one?.seq);
    expect(await asOf(0)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(await asOf(1)).toEqual([1, 1, undefined, undefined, 1]);
    expect(await asOf(2)).toEqual([2, undefined, 2, undefined, 1]);
    await registry().backups.fail(open.backup.id, 'TM1508', []);
    expect(await asOf(2 ** 53 - 1)).toEqual([2, undefined, 2, undefined, 1]);
  });

  it('keeps the entries of sources apart', async () => {
    const [one, two] = [await newSource(registry()), await newSource(registry())];
    await committedBackup(registry(), one, 'full', [present('a', 1)]);
    await committedBackup(registry(), two, 'full', [present('a', 2), present('b', 2)]);
    expect(paths(await collect(entries().list(one.id, 1)))).toEqual(['a']);
    const [found] = await entries().lookup(one.id, 1, [keyOf('a')]);
    expect(found?.hash).toEqual(hashOf(one, present('a', 1)));
  });

  it('gives entries back byte by byte', async () => {
    const source = await newSource(registry());
    const record = present(Buffer.from('dir/\xff\xfe\n', 'latin1'), 7, [Buffer.alloc(32, 0xff)]);
    await committedBackup(registry(), source, 'full', [record]);
    expect(await collect(entries().list(source.id, 1))).toEqual([
      {
        dir: record.dir,
        name: record.name,
        seq: 1,
        op: RecordOp.present,
        hash: hashOf(source, record),
        state: record.state,
        hints: hintsOf(7),
      },
    ]);
    expect(await entries().lookup(source.id, 1, [record])).toEqual(
      await collect(entries().list(source.id, 1)),
    );
  });

  it('orders names and paths by bytes: any bytes, 255 of them, paths of 4,095', async () => {
    const source = await newSource(registry());
    const bytes = Array.from({ length: 255 }, (_, i) => Buffer.from([i + 1])).filter(
      ([byte]) => byte !== 0x2f,
    );
    const long = Buffer.from(Array.from({ length: 16 }, (_, i) => 'abcdefgh'[i % 8]!.repeat(255)).join('/'));
    expect(long.length).toBe(4095);
    const names = [
      'A',
      'a',
      '\xc3\x84',
      'a!',
      'a.b',
      'a/z',
      'a/\x01',
      'a!/b',
      'ab',
      'x'.repeat(255),
      '\xff\xff',
    ];
    const all = [...bytes.filter(([byte]) => byte !== 0x41 && byte !== 0x61 && byte !== 0x2e), long].concat(
      names.map((one) => Buffer.from(one, 'latin1')),
    );
    const records = all.map((one, i) => present(one, i)).reverse();
    await committedBackup(registry(), source, 'full', records);
    const expected = [...records].sort((x, y) => compareEntries(x.dir, x.name, y.dir, y.name));
    const listed = await collect(entries().list(source.id, 1));
    expect(paths(listed)).toEqual(paths(expected as never));
    const found = await entries().lookup(source.id, 1, records);
    expect(found.map((one) => one?.hash)).toEqual(records.map((one) => hashOf(source, one)));
  });

  it('tells names apart that differ only in case, normalization or a trailing space', async () => {
    const source = await newSource(registry());
    const names = ['a', 'A', 'a ', '\u00e4', 'a\u0308', 'ß', 'ss'];
    await committedBackup(
      registry(),
      source,
      'full',
      names.map((name, i) => present(name, i)),
    );
    const found = await entries().lookup(source.id, 1, names.map(keyOf));
    expect(found.map((one) => one?.hash)).toEqual(names.map((name, i) => hashOf(source, present(name, i))));
  });

  it('lists what is within a path, not what only begins alike', async () => {
    const source = await newSource(registry());
    const all = ['', 'a', 'a/b', 'a/b/c', 'a/b/c/d', 'a/b!', 'a/bc', 'a/b.', 'ab', 'ab/b'];
    await committedBackup(
      registry(),
      source,
      'full',
      all.map((one, i) => present(one, i)),
    );
    const within = async (at: string, depth: 'all' | 'children') =>
      paths(await collect(entries().list(source.id, 1, { within: fromSlashes(at), depth })));
    for (const at of ['', 'a', 'a/b', 'ab', 'nothing']) {
      const visited: { dir: Buffer; name: Buffer }[] = [];
      await entries().visit(source.id, 1, fromSlashes(at), ({ dir, name }) =>
        visited.push({ dir: Buffer.from(dir), name: Buffer.from(name) }),
      );
      expect(paths(visited)).toEqual(await within(at, 'all'));
    }
    expect(await within('a/b', 'all')).toEqual(['a/b', 'a/b/c', 'a/b/c/d']);
    expect(await within('a/b', 'children')).toEqual(['a/b', 'a/b/c']);
    expect(await within('a', 'children')).toEqual(['a', 'a/b', 'a/b!', 'a/b.', 'a/bc']);
    expect(await within('nothing', 'all')).toEqual([]);
    expect((await within('', 'children')).sort()).toEqual(['', 'a', 'ab']);
    expect((await within('', 'all')).sort()).toEqual([...all].sort());
  });

  it('names the changes between any two seqs, in both directions, without what came back', async () => {
    const source = await newSource(registry());
    await committedBackup(registry(), source, 'full', [present('a', 1), present('b', 1), present('c', 1)]);
    await committedBackup(registry(), source, 'differential', [present('a', 2), gone('b'), present('d', 2)]);
    await committedBackup(registry(), source, 'differential', [present('a', 1), present('b', 3), gone('d')]);
    const changes = async (from: number, to: number) =>
      (await collect(entries().changes(source.id, from, to))).map(
        ({ key, before, after }) => `${path(key)} ${before?.seq ?? '-'} ${after?.seq ?? '-'}`,
      );
    expect(await changes(1, 2)).toEqual(['a 1 2', 'b 1 -', 'd - 2']);
    expect(await changes(2, 1)).toEqual(['a 2 1', 'b - 1', 'd 2 -']);
    expect(await changes(1, 3)).toEqual(['b 1 3']);
    expect(await changes(0, 1)).toEqual(['a - 1', 'b - 1', 'c - 1']);
    expect(await changes(3, 3)).toEqual([]);
  });

  it('reads more rows than a page, each once', async () => {
    const source = await newSource(registry());
    const opened = await registry().backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
    for (let batch = 0; batch < 5; batch++) {
      const records = Array.from({ length: 1000 }, (_, i) => present(`d${i % 7}/f${batch}-${i}`, i));
      await entries().apply(opened.backup, [segmentOf(source, batch, records)]);
    }
    await commit(registry(), opened);
    const listed = await collect(entries().list(source.id, 1));
    expect(new Set(paths(listed)).size).toBe(5000);
    expect(listed).toHaveLength(5000);
    expect(await collect(entries().versions(source.id, 0, 1))).toHaveLength(5000);
    expect(await entries().lookup(source.id, 1, listed)).toEqual(listed);
  });

  it('keeps problems apart from entries', async () => {
    const source = await newSource(registry());
    await committedBackup(registry(), source, 'full', [present('a', 1)]);
    await committedBackup(registry(), source, 'differential', [kept('a', 1110), kept('b/c', 1113)]);
    expect(paths(await collect(entries().list(source.id, 2)))).toEqual(['a']);
    expect(await registry().backups.problems(source.id, 2)).toEqual([
      { ...keyOf('a'), code: 1110 },
      { ...keyOf('b/c'), code: 1113 },
    ]);
    expect(await registry().backups.problems(source.id, 1)).toEqual([]);
  });
}
