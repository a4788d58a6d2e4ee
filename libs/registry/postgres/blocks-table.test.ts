import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BlockKind } from '../../blocks/intake.ts';
import { acquireEmbeddedPostgres, stopEmbeddedPostgres } from '../embedded/index.ts';
import type { BlockRow, Registry } from '../port.ts';
import { openPostgresRegistry } from './open-postgres-registry.ts';

let home: string;
let registry: Registry;
let release: () => Promise<void>;

beforeAll(async () => {
  home = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidemark-blocks-'));
  chmodSync(home, 0o711);
  const postgres = await acquireEmbeddedPostgres({ home, onStatus: () => {} });
  release = () => postgres.release();
  registry = await openPostgresRegistry({ connection: postgres.connection });
});

afterAll(async () => {
  await registry?.close();
  await release?.();
  await stopEmbeddedPostgres(home);
  rmSync(home, { recursive: true, force: true });
});

const newPack = () => ({ id: randomBytes(32), size: 100_000, keys: [] });

function rowsOf(pack: { id: Buffer }, ids: readonly Buffer[]): BlockRow[] {
  return ids.map((id, i) => ({
    pack: pack.id,
    frameOffset: 24,
    frameLength: 5000,
    offset: i * 10,
    length: 10,
    id,
    kind: i % 2 === 0 ? BlockKind.data : BlockKind.recipe,
    children: i % 2 === 0 ? Buffer.alloc(0) : randomBytes(64),
  }));
}

async function store(domain: string, ids: readonly Buffer[]) {
  const pack = newPack();
  const rows = rowsOf(pack, ids);
  await registry.blocks.beginPack(domain, pack);
  await registry.blocks.finishPack(domain, pack, rows);
  return { pack, rows };
}

test('a pack’s blocks are there once it is finished, in their domain only, wherever they stand in the question', async () => {
  const ids = Array.from({ length: 2500 }, () => randomBytes(32));
  const { pack, rows } = await store('one', ids);
  const asked = ids.flatMap((id) => [randomBytes(32), id]);
  const there = asked.map((_, i) => i % 2);
  expect([...(await registry.blocks.present('one', Buffer.concat(asked)))]).toEqual(there);
  expect((await registry.blocks.present('two', Buffer.concat(asked))).every((one) => one === 0)).toBe(true);
  expect((await registry.blocks.present('one', Buffer.alloc(0))).length).toBe(0);
  expect(await registry.blocks.locate('one', ids)).toEqual(rows);
  expect(pack.id).toEqual(rows[0]!.pack);
});

describe.each([0, 100])('packs that hold %i blocks more, which are there already', (count) => {
  const others = Array.from({ length: count }, () => randomBytes(32));
  beforeAll(() => store('one', others));

  test('a block that two packs hold keeps its first location, and the others of the later pack get theirs', async () => {
    const [a, b, c] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const first = await store('one', [a, b, ...others]);
    const second = await store('one', [b, c, ...others]);
    expect(await registry.blocks.locate('one', [a, b, c])).toEqual([
      ...first.rows.slice(0, 2),
      second.rows[1],
    ]);
    const again = await store('one', [c, c, b, ...others]);
    expect(await registry.blocks.locate('one', [a, b, c])).toEqual([
      ...first.rows.slice(0, 2),
      second.rows[1],
    ]);
    expect(await registry.blocks.blocksOf('one', again.pack.id)).toEqual([]);
  });

  test('finishing a pack twice changes nothing', async () => {
    const ids = [randomBytes(32), randomBytes(32)];
    const { pack, rows } = await store('one', [...ids, ...others]);
    await registry.blocks.finishPack('one', pack, rows);
    expect(await registry.blocks.blocksOf('one', pack.id)).toEqual(rows.slice(0, 2));
  });

  test('damaged blocks and those of condemned packs count as missing, and a new pack becomes their location', async () => {
    const ids = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const first = await store('one', [...ids.slice(0, 2), ...others]);
    const going = await store('one', [...ids.slice(2), ...others]);
    await registry.blocks.markDamaged('one', [ids[0]!]);
    await registry.blocks.condemn('one', [going.pack.id]);
    expect([...(await registry.blocks.present('one', Buffer.concat(ids)))]).toEqual([0, 1, 0]);
    const { rows } = await store('one', [...ids, ...others]);
    expect([...(await registry.blocks.present('one', Buffer.concat(ids)))]).toEqual([1, 1, 1]);
    const [one, two, three] = await registry.blocks.locate('one', ids);
    expect([one!.pack, two!.pack, three!.pack]).toEqual([rows[0]!.pack, first.pack.id, rows[2]!.pack]);
  });
});

test('packs with the same blocks in other orders, finished at once, don’t lock each other out', async () => {
  for (let round = 0; round < 5; round++) {
    const ids = Array.from({ length: 1500 }, () => randomBytes(32));
    for (const id of ids.slice(0, 300)) id.fill(round, 0, 4); // which begin alike
    const packs = await Promise.all(
      [ids, ids.toReversed(), ids.toSorted(Buffer.compare)].map((some) => store('one', some)),
    );
    const found = await registry.blocks.locate('one', ids);
    const names = new Set(packs.map(({ pack }) => pack.id.toString('hex')));
    expect(found.every((row) => row && names.has(row.pack.toString('hex')))).toBe(true);
  }
});

test('large packs of which some blocks are there already: the copy fails while it is being sent, and goes on', async () => {
  const known = Array.from({ length: 20 }, () => randomBytes(32));
  await store('one', known);
  const ids = [...Array.from({ length: 30_000 }, () => randomBytes(32)), ...known];
  await Promise.all([store('one', ids), store('one', ids)]);
  expect((await registry.blocks.present('one', Buffer.concat(ids))).every((one) => one === 1)).toBe(true);
});

test('blocks of a pack that is only being written are not there', async () => {
  const pack = newPack();
  await registry.blocks.beginPack('one', pack);
  const other = randomBytes(32);
  expect([...(await registry.blocks.present('one', other))]).toEqual([0]);
});

test('the ids of all blocks that are present, as many as asked for', async () => {
  const ids = Array.from({ length: 30_000 }, () => randomBytes(32));
  await store('ids', ids);
  const going = await store('ids', [randomBytes(32)]);
  const damaged = await store('ids', [randomBytes(32)]);
  await store('others', [randomBytes(32)]);
  await registry.blocks.condemn('ids', [going.pack.id]);
  await registry.blocks.markDamaged('ids', [damaged.rows[0]!.id]);
  const hex = (all: readonly Buffer[]) => all.map((id) => id.toString('hex')).sort();
  const found = (most: number) =>
    Array.fromAsync(registry.blocks.presentIds('ids', most), hex).then((pages) => pages.flat());
  expect((await found(100_000)).sort()).toEqual(hex(ids));
  expect(new Set(await found(12_345)).size).toBe(12_345);
});
