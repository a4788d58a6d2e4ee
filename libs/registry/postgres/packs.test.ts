import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BlockKind } from '../../blocks/intake.ts';
import type { BlockRow } from '../port.ts';
import { RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
const NONE = Buffer.alloc(0);
const id = (byte: number) => Buffer.alloc(32, byte);

const block = (pack: number, block: number, frame = 0, children = NONE): BlockRow => ({
  id: id(block),
  pack: id(pack),
  frameOffset: frame * 1000,
  frameLength: 1000,
  offset: 0,
  length: 5,
  kind: children.length > 0 ? BlockKind.recipe : BlockKind.data,
  children,
});

async function putPack(domain: string, pack: number, blocks: readonly BlockRow[]): Promise<void> {
  await rig.registry.blocks.beginPack(domain, { id: id(pack), size: 10_000 });
  await rig.registry.blocks.finishPack(domain, { id: id(pack), size: 10_000, keys: [] }, blocks);
}

async function* pages(...ids: number[]): AsyncGenerator<Buffer[]> {
  for (const one of ids) yield [id(one), id(one)];
}

const numbers = (packs: readonly { id: Buffer }[]) => packs.map((pack) => pack.id[0]);

beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

test('a pack is live by a block, by a child at any depth, or by a run', async () => {
  const { blocks } = rig.registry;
  await putPack('d', 1, [block(1, 11)]);
  await putPack('d', 2, [block(2, 21, 0, Buffer.concat([id(22), id(31)])), block(2, 22, 1)]);
  await putPack('d', 3, [block(3, 31, 0, id(41)), block(3, 32, 1), block(3, 33, 2)]);
  await putPack('d', 4, [block(4, 41), block(4, 42)]);
  await putPack('d', 5, [block(5, 51), block(5, 52, 1)]);
  await putPack('other', 6, [{ ...block(6, 11) }]);
  const use = await blocks.unreferencedPacks('d', pages(21), [{ pack: id(5), frameOffset: 1000 }]);
  expect(numbers(use.dead)).toEqual([1]);
  expect(use.unknown).toBeUndefined();
  expect(use.idleBytes).toBe(3000); // two frames of pack 3 and one of pack 5
  expect(numbers((await blocks.unreferencedPacks('d', pages(11), [])).dead)).toEqual([2, 3, 4, 5]);
  expect(numbers((await blocks.unreferencedPacks('d', pages(), [])).dead)).toEqual([1, 2, 3, 4, 5]);
  expect((await blocks.unreferencedPacks('d', pages(11, 99), [])).unknown).toEqual(id(99));
});

test('blocks of a condemned pack count as missing, are put anew, and stay when the old pack is forgotten', async () => {
  const { blocks } = rig.registry;
  await putPack('c', 61, [block(61, 71), block(61, 72)]);
  await blocks.condemn('c', [id(61)]);
  expect([...(await blocks.present('c', Buffer.concat([id(71), id(72)])))]).toEqual([0, 0]);
  await putPack('c', 62, [block(62, 71)]);
  expect([...(await blocks.present('c', Buffer.concat([id(71), id(72)])))]).toEqual([1, 0]);
  expect(numbers((await blocks.unreferencedPacks('c', pages(71), [])).dead)).toEqual([61]);
  await blocks.forgetPack('c', id(61));
  await blocks.forgetPack('c', id(61));
  const [kept, lost] = await blocks.locate('c', [id(71), id(72)]);
  expect(kept?.pack).toEqual(id(62));
  expect(lost).toBeUndefined();
});

test('a pack that is not condemned is never forgotten', async () => {
  const { blocks } = rig.registry;
  await putPack('f', 65, [block(65, 75)]);
  await blocks.forgetPack('f', id(65));
  expect([...(await blocks.present('f', id(75)))]).toEqual([1]);
});

test('a writer taken for dead cannot finish a pack that was collected', async () => {
  const { blocks } = rig.registry;
  await blocks.beginPack('z', { id: id(81), size: 10 });
  expect(numbers((await blocks.unfinishedPacks('z')).map((one) => ({ id: one })))).toEqual([81]);
  await blocks.condemn('z', [id(81)]);
  const finish = () => blocks.finishPack('z', { id: id(81), size: 10, keys: [] }, [block(81, 82)]);
  await expect(finish()).rejects.toMatchObject({ code: 'TM1502' });
  await blocks.forgetPack('z', id(81));
  await expect(finish()).rejects.toMatchObject({ code: 'TM1502' });
  expect([...(await blocks.present('z', id(82)))]).toEqual([0]);
  expect(await blocks.unfinishedPacks('z')).toEqual([]);
});

test('finishing a pack twice is no error, and a first location stays', async () => {
  const { blocks } = rig.registry;
  await putPack('t', 91, [block(91, 95)]);
  await putPack('t', 91, [block(91, 95)]);
  await putPack('t', 92, [block(92, 95)]);
  expect((await blocks.locate('t', [id(95)]))[0]?.pack).toEqual(id(91));
  expect(numbers((await blocks.unknownPacks([id(91), id(200), id(92)])).map((one) => ({ id: one })))).toEqual(
    [200],
  );
});

test.each([3, 100])(
  'no block of %i is ever left without its pack: packs are finished, condemned and forgotten at once, blocks move',
  async (count) => {
    const { blocks } = rig.registry;
    const shared = Array.from({ length: count }, () => ({ ...block(0, 190), id: randomBytes(32) }));
    for (let round = 0; round < 20; round++) {
      const packs = [1, 2, 3].map(() => randomBytes(32));
      await Promise.all(
        packs.map(async (pack) => {
          await blocks.beginPack('o', { id: pack, size: 10 });
          const finish = () => blocks.finishPack('o', { id: pack, size: 10, keys: [] }, shared);
          const collect = async () => {
            await blocks.condemn('o', [pack]);
            await blocks.forgetPack('o', pack);
          };
          const settled = await Promise.allSettled([finish(), collect(), finish()]);
          for (const one of settled) if (one.status === 'rejected') expect(one.reason.code).toBe('TM1502');
        }),
      );
      const { rows } = await rig.db.query(
        `select count(*)::int as orphans from blocks b where not exists (select 1 from packs p where p.id = b.pack)`,
      );
      expect(rows[0].orphans).toBe(0);
    }
  },
);
