import { expect, test } from 'vitest';
import { RecordOp } from '../model/records.ts';
import type { EntryVersion, Registry, SourceRow } from '../registry/port.ts';
import { decodeCursor, KeyCursor } from './cursor.ts';
import { entriesPage } from './pages.ts';

const EMPTY = Buffer.alloc(0);
const SOURCE = { id: 1 } as SourceRow;

const entry = (n: number, bytes: number): EntryVersion => ({
  dir: EMPTY,
  name: Buffer.from(`n${String(n).padStart(4, '0')}`),
  seq: 1,
  op: RecordOp.present,
  hash: EMPTY,
  state: Buffer.alloc(bytes),
  hints: EMPTY,
});

/** A registry of these entries that counts how many were read. */
function registryOf(all: readonly EntryVersion[]) {
  const read = { rows: 0 };
  const list: Registry['entries']['list'] = async function* (_source, _seq, options) {
    const { after, limit } = options!.page!;
    const from = after ? all.findIndex(({ name }) => name.equals(after.name)) + 1 : 0;
    for (const row of all.slice(from, from + limit)) {
      read.rows++;
      yield [row];
    }
  };
  return { registry: { entries: { list } } as unknown as Registry, read };
}

async function pagesOf(all: readonly EntryVersion[], limit: number) {
  const { registry, read } = registryOf(all);
  const pages: EntryVersion[][] = [];
  for (let after: KeyCursor | undefined; ; ) {
    const { rows, next } = await entriesPage(registry, SOURCE, 1, { depth: 'all', after, limit });
    pages.push([...rows]);
    if (next === null) return { pages, read };
    after = decodeCursor(KeyCursor, next);
  }
}

test('a page of large entries ends early, and what does not fit is not read', async () => {
  const all = Array.from({ length: 10 }, (_, n) => entry(n, 1024 * 1024));
  const { pages, read } = await pagesOf(all, 1000);
  expect(pages.flat()).toEqual(all);
  expect(pages.map(({ length }) => length)).toEqual([3, 3, 3, 1]);
  expect(read.rows).toBe(10 + 3);
});

test('an entry that is larger than a page is one', async () => {
  const all = [entry(0, 10), entry(1, 6 * 1024 * 1024), entry(2, 10)];
  expect((await pagesOf(all, 1000)).pages.map(({ length }) => length)).toEqual([1, 1, 1]);
});

test('small ones come by their number, and a full page is followed by another', async () => {
  const all = Array.from({ length: 10 }, (_, n) => entry(n, 10));
  const { pages } = await pagesOf(all, 5);
  expect(pages.map(({ length }) => length)).toEqual([5, 5, 0]);
});

test('of many entries none is lost or doubled between pages', async () => {
  const all = Array.from({ length: 4500 }, (_, n) => entry(n, 10));
  const { pages, read } = await pagesOf(all, 2500);
  expect(pages.map(({ length }) => length)).toEqual([2500, 2000]);
  expect(pages.flat()).toEqual(all);
  expect(read.rows).toBe(4500);
});
