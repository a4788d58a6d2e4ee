import { expect, test } from 'vitest';
import { ByteWriter } from '../model/byte-writer.ts';
import { type EntryState, EntryType, encodeState, type RecipeItem } from '../model/entry.ts';
import type { BlockRow, EntryVersion, Registry, SourceRow } from '../registry/port.ts';
import { damagedEntries } from './damaged-entries.ts';

const id = (n: number): Buffer => Buffer.alloc(32, n);
const block = (n: number): RecipeItem => ({ kind: 'block', id: id(n), length: 10 });
const tree = (n: number): RecipeItem => ({ kind: 'recipe', id: id(n), length: 10, blockLength: 100 });

function version(dir: string, name: string, items: readonly RecipeItem[], depth = 0): EntryVersion {
  const state: EntryState = {
    type: EntryType.file,
    flags: 0,
    mode: 0o644,
    uid: 0,
    gid: 0,
    user: '',
    group: '',
    mtimeSec: 0n,
    mtimeNsec: 0,
    size: 10,
    linkGroup: 0n,
    rdevMajor: 0,
    rdevMinor: 0,
    target: Buffer.alloc(0),
    xattrs: [],
    digest: Buffer.alloc(32),
    recipe: { depth, items, holes: { kind: 'inline', holes: [] } },
  };
  const out = new ByteWriter();
  encodeState(state, out);
  const nothing = Buffer.alloc(0);
  return {
    dir: Buffer.from(dir),
    name: Buffer.from(name),
    seq: 1,
    op: 1,
    hash: nothing,
    state: out.finish(),
    hints: nothing,
  };
}

/** Blocks of the trees: 20 → 21, 22; 21 → 3, 4; 22 → 5. */
const CHILDREN: Readonly<Record<number, readonly number[]>> = { 20: [21, 22], 21: [3, 4], 22: [5] };

function registryWith(damaged: readonly number[], entries: readonly EntryVersion[]) {
  const blocks = {
    hasDamage: async () => damaged.length > 0,
    present: async (_: string, ids: Buffer) =>
      Uint8Array.from({ length: ids.length / 32 }, (_one, i) => (damaged.includes(ids[i * 32]!) ? 0 : 1)),
    locate: async (_: string, ids: readonly Buffer[]) =>
      ids.map((one) => {
        const children = Buffer.concat((CHILDREN[one[0]!] ?? []).map(id));
        return { id: one, children } as unknown as BlockRow;
      }),
  };
  const list = async function* () {
    yield entries;
  };
  return { blocks, entries: { list } } as unknown as Pick<Registry, 'entries' | 'blocks'>;
}

const source = { id: 1, domain: 'd' } as SourceRow;
const ENTRIES = [
  version('', 'a', [block(1)]),
  version('d', 'b', [block(1), block(2)]),
  version('d', 'c', [tree(20)], 2),
  version('d', 'empty', []),
];

async function found(damaged: readonly number[]): Promise<string[]> {
  const set = await damagedEntries(registryWith(damaged, ENTRIES), source, 1);
  if (set === undefined || set === 'too many') throw new Error(String(set));
  return ENTRIES.filter(({ dir, name }) => set.has(dir, name)).map(({ name }) => name.toString());
}

test('entries that name a damaged block themselves or through any level of recipe blocks are found', async () => {
  expect(await damagedEntries(registryWith([], ENTRIES), source, 1)).toBeUndefined();
  expect(await found([1])).toEqual(['a', 'b']);
  expect(await found([2])).toEqual(['b']);
  for (const below of [20, 21, 22, 3, 4, 5]) expect(await found([below])).toEqual(['c']);
  expect(await found([9])).toEqual([]);
});
