import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nativeCompressor, TUNINGS, zlibCompressor } from '../codec/compressor.ts';
import { cryptoGcm, nativeGcm } from '../codec/gcm.ts';
import { blake3, KeyedHasher } from '../model/digests.ts';
import type { RecipeItem } from '../model/entry.ts';
import { Chunker } from './chunker.ts';
import { type FrameCodecs, FrameSealer, openFrame, parseFrameHeader } from './frame.ts';
import { decodeFrameBlocks } from './frame-blocks.ts';
import { BlockKind } from './intake.ts';
import {
  generateIdentity,
  KeyRing,
  newDataKey,
  newDomain,
  openIdentity,
  protectIdentity,
  recipientOf,
  unwrapDomain,
  wrapDomain,
} from './keys.ts';
import { PackBuilder, readPackIndex } from './pack.ts';
import { RecipeBuilder } from './recipe-builder.ts';
import { holesOf, recipeItems } from './recipe-reader.ts';
import { isZero } from './zero.ts';

const SMALL = { min: 64, avg: 256, max: 1024 };
const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const KEY = Buffer.alloc(32, 7);
const KEY_ID = Buffer.alloc(16, 9);

function cuts(
  chunker: Chunker,
  data: Buffer,
  reads: readonly number[],
  from = 0,
  to = data.length,
): number[] {
  const found: number[] = [];
  let [start, end, read] = [from, from, 0];
  for (;;) {
    const final = end === to;
    for (
      let cut = chunker.cut(data, start, end, final);
      cut > 0 && start < end;
      cut = start < end ? chunker.cut(data, start, end, final) : 0
    ) {
      found.push(cut);
      start = cut;
    }
    if (final) return found;
    end = Math.min(to, end + (reads[read++ % reads.length] ?? 1));
  }
}

test('cuts depend on the bytes only, not on how they are read, and keep their bounds', () => {
  const chunker = new Chunker(KEY, SMALL, 4096);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 8000 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 9 }),
      (bytes, reads) => {
        const data = Buffer.from(bytes);
        const found = cuts(chunker, data, reads);
        expect(found).toEqual(cuts(chunker, data, [data.length + 1]));
        const sizes = found.map((cut, i) => cut - (found[i - 1] ?? 0));
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(data.length);
        for (const size of sizes.slice(0, -1)) expect(size > SMALL.min && size <= SMALL.max).toBe(true);
      },
    ),
  );
});

test('WebAssembly and JavaScript cut alike, wherever reads end and whatever lies before', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 6000 }),
      fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 9 }),
      fc.nat(50),
      (seed, bytes, reads, before) => {
        const chunker = new Chunker(Buffer.from(seed), SMALL, 8192);
        expect(chunker.isNative).toBe(true);
        chunker.buffer.set(bytes, before);
        const shifted = Buffer.concat([Buffer.alloc(before), Buffer.from(bytes)]);
        const inMemory = cuts(chunker, chunker.buffer, reads, before, shifted.length);
        expect(inMemory).toEqual(cuts(chunker, shifted, reads, before, shifted.length));
      },
    ),
    { numRuns: 400 },
  );
});

test('WebAssembly and JavaScript cut real sizes alike', () => {
  const chunker = new Chunker(KEY);
  const data = pseudoRandom(chunker.buffer.length);
  data.fill(0, 2_000_000, 3_500_000);
  data.copy(chunker.buffer);
  const found = cuts(chunker, data, [65_537]);
  expect(found.length).toBeGreaterThan(3);
  expect(cuts(chunker, chunker.buffer, [100_003])).toEqual(found);
});

/** The same bytes in each run: how often random ones are cut is itself random. */
function pseudoRandom(length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 32) blake3(Buffer.from(`piece ${at}`)).copy(data, at);
  return data;
}

test('golden cuts: those of a key never change, or nothing deduplicates any more', () => {
  const data = Buffer.alloc(6 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(Math.imul(at + 1, 2_654_435_761) >>> 0, at);
  for (let at = 0; at < data.length; at += 4096) blake3(Buffer.from(String(at))).copy(data, at);
  expect(cuts(new Chunker(KEY), data, [data.length])).toMatchInlineSnapshot(`
    [
      1147689,
      2622869,
      3698613,
      5025533,
      6291456,
    ]
  `);
});

test('an insertion changes few blocks, another seed changes the cuts', () => {
  const data = randomBytes(200_000);
  const changed = Buffer.concat([data.subarray(0, 100_000), Buffer.from('inserted'), data.subarray(100_000)]);
  const pieces = (seed: Buffer, bytes: Buffer) => {
    const found = cuts(new Chunker(seed, SMALL, 4096), bytes, [bytes.length]);
    return new Set(found.map((cut, i) => bytes.toString('latin1', found[i - 1] ?? 0, cut)));
  };
  const before = pieces(KEY, data);
  const after = pieces(KEY, changed);
  expect(before.size).toBeGreaterThan(300);
  expect([...after].filter((piece) => !before.has(piece)).length).toBeLessThan(8);
  expect([...pieces(Buffer.alloc(32, 8), data)].filter((piece) => before.has(piece)).length).toBeLessThan(8);
});

const block = (bytes: Buffer) => ({
  id: new KeyedHasher(KEY).digest(bytes),
  length: bytes.length,
  kind: BlockKind.data,
  children: Buffer.alloc(0),
  bytes,
});
const sealer = (codecs?: FrameCodecs) =>
  new FrameSealer({
    domainId: DOMAIN,
    keyId: KEY_ID,
    key: KEY,
    firstFrameNo: 5,
    endFrameNo: 8,
    ...(codecs && { codecs }),
  });

test('a frame opens to what was sealed, and no altered byte goes unseen', () => {
  for (const content of [Buffer.alloc(5000, 'text '), randomBytes(300)]) {
    const { bytes } = sealer().seal([block(content.subarray(0, 100)), block(content.subarray(100))]);
    expect(openFrame(bytes, DOMAIN, KEY).equals(content)).toBe(true);
    for (let at = 0; at < bytes.length; at++) {
      const altered = Buffer.from(bytes);
      altered[at] = altered[at]! ^ 0x10;
      expect(() => openFrame(altered, DOMAIN, KEY)).toThrow();
    }
    for (let length = 0; length < bytes.length; length += 7)
      expect(() => openFrame(bytes.subarray(0, length), DOMAIN, KEY)).toThrow();
    expect(() => openFrame(bytes, DOMAIN.replace('0', '1'), KEY)).toThrow();
  }
});

test('frames open alike whichever codecs sealed them, and wherever their blocks lay', () => {
  const [one, two] = [Buffer.alloc(3000, 'one '), randomBytes(900)];
  const apart = [block(one), block(two), block(Buffer.from('three'))];
  const together = Buffer.concat(apart.map(({ bytes }) => bytes));
  const adjoining = [
    block(together.subarray(0, 3000)),
    block(together.subarray(3000, 3900)),
    block(together.subarray(3900)),
  ];
  const native = () => ({ compressor: nativeCompressor(TUNINGS.fast)!, cipher: nativeGcm(KEY)! });
  const fallback = () => ({ compressor: zlibCompressor(TUNINGS.fast), cipher: cryptoGcm(KEY) });
  for (const codecs of [native, fallback]) {
    for (const blocks of [apart, adjoining]) {
      const by = sealer(codecs());
      const frame = by.seal(blocks);
      by.close();
      expect(openFrame(frame.bytes, DOMAIN, KEY).equals(together)).toBe(true);
      expect(decodeFrameBlocks(frame.index)).toEqual(
        apart.map(({ id, length, kind, children }) => ({ id, length, kind, children })),
      );
      expect(frame.checksum).toEqual(blake3(frame.bytes).subarray(0, 16));
      expect(() => by.seal(blocks)).toThrow();
    }
  }
});

test('frames that are sealed aside open alike, however many at once; closing waits for them and refuses others', async () => {
  const native = () => ({ compressor: nativeCompressor(TUNINGS.fast)!, cipher: nativeGcm(KEY)! });
  const fallback = () => ({ compressor: zlibCompressor(TUNINGS.fast), cipher: cryptoGcm(KEY) });
  const contents = [Buffer.alloc(700_000, 'one '), randomBytes(300_000), Buffer.alloc(2_000_000, 'three ')];
  for (const codecs of [native, fallback]) {
    const by = sealer(codecs());
    const frames = await Promise.all(contents.map((content) => by.sealAside([block(content)])));
    frames.forEach(({ bytes }, i) => {
      expect(openFrame(bytes, DOMAIN, KEY).equals(contents[i]!)).toBe(true);
    });
    const numbers = frames.map(({ bytes }) => parseFrameHeader(bytes).frameNo);
    expect(numbers.toSorted()).toEqual([5, 6, 7]);

    const other = sealer(codecs());
    let ended = false;
    const late = expect(other.sealAside([block(contents[2]!)]).finally(() => (ended = true))).rejects.toThrow(
      'used up',
    );
    await other.close();
    await late;
    expect(ended).toBe(true);
  }
});

test('a frame number is used once, and the range ends', () => {
  const one = sealer();
  const numbers = [1, 2, 3].map((n) => parseFrameHeader(one.seal([block(Buffer.from([n]))]).bytes).frameNo);
  expect(numbers).toEqual([5, 6, 7]);
  expect(() => one.seal([block(Buffer.from('x'))])).toThrow('used up');
});

test('golden bytes of a frame', () => {
  const { bytes } = sealer().seal([block(Buffer.from('tidemark'))]);
  expect(bytes.toString('hex')).toMatchInlineSnapshot(
    `"5446010009090909090909090909090909090909050000000000000008000000080000000000000000000000000000002776fc6a0fb024ae3cdf4c846e37b1ccdc41aa34b245be7f"`,
  );
});

test('a pack tells its blocks from its own bytes, and no altered byte of its index goes unseen', async () => {
  const builder = new PackBuilder(DOMAIN);
  const one = sealer();
  builder.add(one.seal([block(Buffer.from('first')), block(Buffer.from('second'))]));
  builder.add(one.seal([block(Buffer.alloc(2000, 'third'))]));
  const pack = builder.finish([{ id: KEY_ID, wrapped: Buffer.from('wrapped') }]);
  const bytes = Buffer.concat(pack.parts);
  const read = (of: Buffer) => async (offset: number, length: number) => of.subarray(offset, offset + length);
  const index = await readPackIndex(read(bytes), bytes.length);
  expect(index.domainId).toBe(DOMAIN);
  expect(index.keys[0]?.wrapped.toString()).toBe('wrapped');
  expect(index.frames.flatMap((frame) => frame.blocks.map((one) => one.id))).toEqual(
    pack.blocks.map((one) => one.id),
  );
  const last = pack.blocks[1]!;
  const plain = openFrame(bytes.subarray(last.frameOffset, last.frameOffset + last.frameLength), DOMAIN, KEY);
  expect(plain.toString('utf8', last.offset, last.offset + last.length)).toBe('second');
  const indexAt = bytes.length - 56 - Number(bytes.readBigUInt64LE(bytes.length - 48));
  for (let at = indexAt; at < bytes.length; at++) {
    const altered = Buffer.from(bytes);
    altered[at] = altered[at]! ^ 1;
    await expect(readPackIndex(read(altered), altered.length)).rejects.toThrow();
  }
});

test('recipes of any length and holes come back as they were', async () => {
  for (const count of [0, 1, 64, 65, 3000]) {
    const blocks = new Map<string, Buffer>();
    const builder = new RecipeBuilder((_kind, bytes) => {
      const id = new KeyedHasher(KEY).digest(bytes);
      blocks.set(id.toString('hex'), bytes);
      return id;
    });
    const items: RecipeItem[] = Array.from({ length: count }, (_, i) =>
      i % 9 === 8 ? { kind: 'zeros', length: i } : { kind: 'block', id: randomBytes(32), length: i + 1 },
    );
    for (const item of items) builder.add(item);
    const holes = Array.from({ length: count }, (_, i) => ({ offset: i * 10, length: 3 }));
    const recipe = builder.finish(holes);
    expect(recipe.items.length).toBeLessThanOrEqual(64);
    const read = async (id: Buffer) => blocks.get(id.toString('hex'))!;
    expect(await Array.fromAsync(recipeItems(recipe, read))).toEqual(items);
    expect(await holesOf(recipe, read)).toEqual(holes);
  }
});

test('a domain opens for its identity only, and its data keys through it', async () => {
  const identity = await generateIdentity();
  const domain = await newDomain(DOMAIN, randomBytes(32));
  const wrapped = await wrapDomain(domain, [await recipientOf(identity)]);
  expect(await unwrapDomain(wrapped, identity)).toEqual(domain);
  await expect(unwrapDomain(wrapped, await generateIdentity())).rejects.toMatchObject({ code: 'TM1401' });
  const key = await newDataKey(domain);
  expect(await new KeyRing(domain, async () => key.wrapped).get(key.id)).toEqual(key.key);
  await expect(new KeyRing(domain, async () => key.wrapped).get(randomBytes(16))).rejects.toMatchObject({
    code: 'TM1404',
  });
  const file = await protectIdentity(identity, 'secret');
  expect(await openIdentity(file, 'secret')).toBe(identity);
  await expect(openIdentity(file, 'wrong')).rejects.toMatchObject({ code: 'TM1403' });
});

test('zeros are told from everything else', () => {
  expect(isZero(Buffer.alloc(0))).toBe(false);
  expect(isZero(Buffer.alloc(200_000))).toBe(true);
  const late = Buffer.alloc(200_000);
  late[199_999] = 1;
  expect(isZero(late)).toBe(false);
});
