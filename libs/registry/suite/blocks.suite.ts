import { randomBytes, randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { codeOf, collect } from '../fixtures.suite.ts';
import type { BlockRow } from '../port.ts';
import { PLACE_BYTES } from '../port-blocks.ts';
import type { RegistryUnderTest } from '../registry.suite.ts';

const newId = (): Buffer => randomBytes(32);
const packOf = (id = newId()) => ({ id, size: 1000, keys: [] });

const blockOf = (pack: Buffer, id = newId(), at = 0): BlockRow => ({
  id,
  pack,
  frameOffset: at,
  frameLength: 100,
  offset: at + 1,
  length: 50,
  kind: 0,
  children: Buffer.alloc(0),
});

function placeOf(row: BlockRow | undefined): Buffer {
  const place = Buffer.alloc(PLACE_BYTES);
  row?.pack.copy(place);
  [row?.frameOffset, row?.frameLength, row?.offset, row?.length].forEach((value, i) => {
    place.writeUInt32LE(value ?? 0, 32 + i * 4);
  });
  return place;
}

/** Blocks and packs; each case in a domain of its own. */
export function blockCases(under: () => RegistryUnderTest): void {
  const blocks = () => under().registry.blocks;
  const present = async (domain: string, ids: readonly Buffer[]): Promise<number[]> => [
    ...(await blocks().present(domain, Buffer.concat(ids))),
  ];

  const put = async (
    domain: string,
    pack: ReturnType<typeof packOf>,
    rows: readonly BlockRow[],
    table = blocks(),
  ): Promise<void> => {
    await table.beginPack(domain, pack);
    await table.finishPack(domain, pack, rows);
  };

  it('says which blocks are present and where, in the order asked, over a thousand and one ids', async () => {
    const [domain, pack] = [randomUUID(), packOf()];
    const known = Array.from({ length: 1001 }, (_, i) => blockOf(pack.id, newId(), i));
    await blocks().beginPack(domain, pack);
    await blocks().finishPack(domain, pack, known);
    const asked = known.flatMap(({ id }) => [newId(), id]).reverse();
    expect(await present(domain, asked)).toEqual(asked.map((_, i) => (i % 2 === 0 ? 1 : 0)));
    const located = await blocks().locate(domain, asked);
    expect(located).toEqual(asked.map((id) => known.find((one) => one.id.equals(id))));
    const places = await blocks().places(domain, Buffer.concat(asked));
    expect(places.length).toBe(asked.length * PLACE_BYTES);
    asked.forEach((_, i) => {
      expect(places.subarray(i * PLACE_BYTES, (i + 1) * PLACE_BYTES).equals(placeOf(located[i]))).toBe(true);
    });
    const [id] = [known[0]!.id];
    const [known0, unknown] = [placeOf(known[0]), placeOf(undefined)];
    expect(await blocks().places(domain, Buffer.concat([id, newId(), id]))).toEqual(
      Buffer.concat([known0, unknown, known0]),
    );
    expect(await present(domain, [id, newId(), id])).toEqual([1, 0, 1]);
    expect(await blocks().locate(domain, [id, id])).toEqual([known[0], known[0]]);
    expect(await present(domain, [])).toEqual([]);
    expect(await blocks().locate(domain, [])).toEqual([]);
    expect(await blocks().places(domain, Buffer.alloc(0))).toEqual(Buffer.alloc(0));
  });

  it('keeps domains apart', async () => {
    const [domain, pack] = [randomUUID(), packOf()];
    const block = blockOf(pack.id);
    await put(domain, pack, [block]);
    expect(await present('another', [block.id])).toEqual([0]);
    expect(await blocks().locate('another', [block.id])).toEqual([undefined]);
    expect(await blocks().places('another', block.id)).toEqual(placeOf(undefined));
  });

  it('shows nothing of a pack that is being written', async () => {
    const [domain, pack] = [randomUUID(), packOf()];
    expect(await blocks().packCount(domain)).toBe(0);
    await blocks().beginPack(domain, pack);
    await blocks().beginPack(domain, pack);
    expect(await blocks().packCount(domain)).toBe(1);
    expect(await collect(blocks().packs(domain))).toEqual([
      { id: pack.id, size: 1000, state: 'writing', domain },
    ]);
    const block = blockOf(pack.id);
    expect(await present(domain, [block.id])).toEqual([0]);
    await blocks().finishPack(domain, pack, [block]);
    expect(await blocks().packCount(domain)).toBe(1);
    expect(await present(domain, [block.id])).toEqual([1]);
    expect(await collect(blocks().packs(domain))).toEqual([
      { id: pack.id, size: 1000, state: 'ready', domain },
    ]);
    const everywhere = await collect(blocks().packs());
    expect(everywhere.filter((one) => one.domain === domain).map((one) => one.id)).toEqual([pack.id]);
    expect(everywhere.map((one) => one.id)).toEqual(everywhere.map((one) => one.id).toSorted(Buffer.compare));
  });

  it('finishes a pack as often as it is told, with one effect, also at once', async () => {
    const [domain, pack] = [randomUUID(), packOf()];
    const known = [blockOf(pack.id, newId(), 0), blockOf(pack.id, newId(), 200)];
    for (let i = 0; i < 2; i++) {
      await blocks().beginPack(domain, pack);
      await blocks().finishPack(domain, pack, known);
    }
    const other = await under().other();
    await Promise.all([blocks(), other.blocks].map((one) => one.finishPack(domain, pack, known)));
    await other.close();
    expect(await blocks().blocksOf(domain, pack.id)).toEqual(known);
  });

  it('finishes no pack that was not begun or is condemned: TM1502, and its blocks are not believed in', async () => {
    const [domain, pack, condemned] = [randomUUID(), packOf(), packOf()];
    const block = blockOf(pack.id);
    expect(await codeOf(blocks().finishPack(domain, pack, [block]))).toBe('TM1502');
    await blocks().beginPack(domain, condemned);
    await blocks().condemn(domain, [condemned.id]);
    const late = blocks().finishPack(domain, condemned, [blockOf(condemned.id, block.id)]);
    expect(await codeOf(late)).toBe('TM1502');
    expect(await present(domain, [block.id])).toEqual([0]);
  });

  it('keeps the first location of a block that comes again, also within one pack', async () => {
    const [domain, first, second] = [randomUUID(), packOf(), packOf()];
    const block = blockOf(first.id);
    await put(domain, first, [block]);
    await put(domain, second, [blockOf(second.id, block.id, 300), blockOf(second.id)]);
    expect(await blocks().locate(domain, [block.id])).toEqual([block]);
    expect(await blocks().blocksOf(domain, second.id)).toHaveLength(1);
    const twice = blockOf(second.id, newId(), 400);
    const third = packOf();
    await put(domain, third, [
      { ...twice, pack: third.id },
      { ...twice, pack: third.id },
    ]);
    expect(await blocks().blocksOf(domain, third.id)).toHaveLength(1);
  });

  it('settles concurrent packs that hold the same blocks in any order', async () => {
    const [domain, ids] = [randomUUID(), Array.from({ length: 200 }, newId)];
    const other = await under().other();
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => {
        const pack = packOf();
        const own = ids.map((id, at) => blockOf(pack.id, id, at));
        const { blocks: table } = i % 2 ? other : under().registry;
        return put(domain, pack, i % 2 ? own.reverse() : own, table);
      }),
    );
    expect(await present(domain, ids)).toEqual(ids.map(() => 1));
    await other.close();
  });

  it('counts damaged blocks as missing, and takes the next location that is offered', async () => {
    const [domain, first, second] = [randomUUID(), packOf(), packOf()];
    const [hit, well] = [blockOf(first.id), blockOf(first.id, newId(), 500)];
    await put(domain, first, [hit, well]);
    await blocks().markDamaged(domain, [hit.id, newId()]);
    expect(await present(domain, [hit.id, well.id])).toEqual([0, 1]);
    const anew = blockOf(second.id, hit.id, 700);
    await put(domain, second, [anew, blockOf(second.id, well.id, 800)]);
    expect(await present(domain, [hit.id, well.id])).toEqual([1, 1]);
    expect(await blocks().locate(domain, [hit.id, well.id])).toEqual([anew, well]);
  });

  it('counts blocks of condemned packs as missing; a new location rescues them; then the pack goes', async () => {
    const [domain, first, second] = [randomUUID(), packOf(), packOf()];
    const [used, unused] = [blockOf(first.id), blockOf(first.id, newId(), 500)];
    await put(domain, first, [used, unused]);
    await blocks().condemn(domain, [first.id]);
    expect(await present(domain, [used.id, unused.id])).toEqual([0, 0]);
    const anew = blockOf(second.id, used.id, 900);
    await put(domain, second, [anew]);
    await blocks().forgetPack(domain, first.id);
    expect(await blocks().locate(domain, [used.id, unused.id])).toEqual([anew, undefined]);
    expect((await collect(blocks().packs(domain))).map((one) => one.id)).toEqual([second.id]);
  });

  it('holds numbers up to the limits of the format, and recipe blocks with all their children', async () => {
    const [domain, pack] = [randomUUID(), { ...packOf(), size: 64 * 2 ** 20 }];
    const children = randomBytes(32 * 1024);
    const block = {
      ...blockOf(pack.id),
      frameOffset: 2 ** 26 - 1,
      frameLength: 2 ** 23,
      offset: 2 ** 23 - 1,
      length: 2 ** 22,
      kind: 1,
      children,
    };
    await put(domain, pack, [block]);
    expect(await blocks().locate(domain, [block.id])).toEqual([block]);
  });
}
