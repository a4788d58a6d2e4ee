import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameSealer } from '../blocks/frame.ts';
import { encodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { type BlockKind, BlockKind as Kind, type SealedFrame } from '../blocks/intake.ts';
import { blake3 } from '../model/digests.ts';
import { decodeFrames, encodeFrames, NO_LIMITS, PACK_LIMITS } from './frame-stream.ts';

const MIB = 1024 * 1024;

/** Deterministic: no randomness, and blocks that don't shrink. */
function framesOf(...lengths: readonly (readonly number[])[]): SealedFrame[] {
  const sealer = new FrameSealer({
    domainId: '00112233-4455-6677-8899-aabbccddeeff',
    keyId: Buffer.alloc(16, 9),
    key: Buffer.alloc(32, 7),
    firstFrameNo: 0,
    endFrameNo: 100,
  });
  const frames = lengths.map((blocks) =>
    sealer.seal(
      blocks.map((length) => {
        const bytes = Buffer.alloc(length, blake3(Buffer.from(String(length))));
        return { id: blake3(bytes), length, kind: Kind.data, children: Buffer.alloc(0), bytes };
      }),
    ),
  );
  sealer.close();
  return frames;
}

const encoded = (frames: readonly SealedFrame[]): Buffer => Buffer.concat([...encodeFrames(frames)]);

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const decoded = (bytes: Buffer, size = 65_536, limits = PACK_LIMITS): Promise<SealedFrame[]> =>
  Array.fromAsync(decodeFrames(inPieces(bytes, size), limits));

const SAMPLE = encoded(framesOf([10, 20], [300]));

test('golden bytes', () => {
  const [frame] = framesOf([5]);
  const head = Buffer.concat([
    Buffer.from('45000000' + '2b000000' + '05000000', 'hex'), // 69 = 48 + 5 + 16, 43 = 4 + 39, 5
    Buffer.alloc(16, 9),
  ]);
  const checksum = blake3(head, frame!.index, blake3(frame!.bytes).subarray(0, 16)).subarray(0, 16);
  const expected = [Buffer.from('TMF1'), head, checksum, frame!.index, frame!.bytes, Buffer.alloc(12)];
  expect(encoded([frame!]).equals(Buffer.concat(expected))).toBe(true);
  expect(blake3(encoded([frame!])).toString('hex')).toBe(
    '61cbded1a60aa1a8a496fc5f721df4a2e29137739c74a6700fb17e257083e7bb',
  );
});

test('what was encoded is decoded, in pieces of any size', async () => {
  const frames = framesOf([10, 20], [300], [MIB]);
  for (const size of [1, 7, 65_536, 10 * MIB])
    expect(await decoded(encoded(frames.slice(0, size < 100 ? 2 : 3)), size)).toEqual(
      frames.slice(0, size < 100 ? 2 : 3),
    );
  expect(await decoded(encoded([]))).toEqual([]);
});

test('a stream that is cut anywhere is TM1810', async () => {
  for (let length = 0; length < SAMPLE.length; length++)
    await expect(decoded(SAMPLE.subarray(0, length))).rejects.toMatchObject({ code: 'TM1810' });
});

test('any flipped bit is TM1810', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(SAMPLE.length - 1),
      fc.nat(7),
      fc.integer({ min: 1, max: 999 }),
      async (at, bit, size) => {
        const bytes = Buffer.from(SAMPLE);
        bytes[at]! ^= 1 << bit;
        await expect(decoded(bytes, size)).rejects.toMatchObject({ code: 'TM1810' });
      },
    ),
    { numRuns: 2000 },
  );
});

test('any bytes end with TM1810 and take no more memory than the limits', async () => {
  const before = process.memoryUsage().arrayBuffers;
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (tail) => {
      const bytes = Buffer.concat([Buffer.from('TMF1'), tail, Buffer.from([1])]);
      await expect(decoded(bytes)).rejects.toMatchObject({ code: 'TM1810' });
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(512 * MIB);
    }),
    { numRuns: 1000 },
  );
});

/** A frame whose stated parts are changed, with a checksum that is right for them. */
function forged(change: (frame: SealedFrame) => Partial<SealedFrame>): Buffer {
  const [frame] = framesOf([10, 20]);
  const changed = { ...frame!, ...change(frame!) };
  return encoded([{ ...changed, checksum: blake3(changed.bytes).subarray(0, 16) }]);
}

const block = (length: number, kind: BlockKind = Kind.data, children = Buffer.alloc(0)) => ({
  ...{ id: Buffer.alloc(32), length, kind, children },
});

test('a frame that does not fit what is said of it is TM1810 in spite of its checksum', async () => {
  expect(await decoded(forged(() => ({})))).toHaveLength(1);
  const lies: ((frame: SealedFrame) => Partial<SealedFrame>)[] = [
    () => ({ keyId: Buffer.alloc(16, 8) }),
    () => ({ plainLength: 31 }),
    () => ({ index: encodeFrameBlocks([block(31)]) }),
    () => ({ index: encodeFrameBlocks([block(30, Kind.run)]) }),
    () => ({ index: encodeFrameBlocks([block(30, 9 as BlockKind)]) }),
    () => ({ index: encodeFrameBlocks([block(30, Kind.data, Buffer.alloc(32))]) }),
    () => ({ index: encodeFrameBlocks([block(30, Kind.recipe, Buffer.alloc(32 * 1025))]) }),
    () => ({ index: Buffer.concat([encodeFrameBlocks([block(30)]), Buffer.alloc(1)]) }),
    ({ bytes }) => ({ bytes: bytes.subarray(0, bytes.length - 1) }),
    ({ bytes }) => ({ bytes: Buffer.concat([Buffer.from('XX'), bytes.subarray(2)]) }),
  ];
  for (const lie of lies) await expect(decoded(forged(lie))).rejects.toMatchObject({ code: 'TM1810' });
});

test('lengths over the limits are refused before memory is taken and before their bytes came', async () => {
  const lengths = [
    [0xffff_ffff, 43, 5],
    [69, 0xffff_ffff, 5],
    [8 * MIB + 65, 43, 8 * MIB + 1],
    [69, 43, 0],
    [64, 43, 5],
    [69, 42, 5],
  ];
  for (const three of lengths) {
    const head = Buffer.alloc(12);
    three.forEach((length, i) => void head.writeUInt32LE(length, i * 4));
    const before = process.memoryUsage().arrayBuffers;
    const failure = decoded(Buffer.concat([Buffer.from('TMF1'), head]));
    await expect(failure).rejects.toThrow('a length over the limits');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MIB);
  }
});

test('a stream of more than fits in a pack is TM1810, and no limit holds for one that is a file', async () => {
  const bytes = encoded(framesOf([1000], [1000], [1000]));
  for (const limit of [{ framesBytes: 250 }, { indexBytes: 100 }, { frames: 2 }])
    await expect(decoded(bytes, 100, { ...PACK_LIMITS, ...limit })).rejects.toMatchObject({ code: 'TM1810' });
  expect(await decoded(bytes, 100, NO_LIMITS)).toHaveLength(3);
});
