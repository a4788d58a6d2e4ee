import { FrameSealer, openFrame, type PlainBlock, PlainMemory } from '../../../libs/blocks/frame.ts';
import { BlockKind, type SealedFrame } from '../../../libs/blocks/intake.ts';
import type { Compression } from '../../../libs/model/compression.ts';
import { KeyedHasher } from '../../../libs/model/digests.ts';
import { hold, MIB, type MicroCase, text } from './case.ts';

const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const KEY = Buffer.alloc(32, 7);
const BLOCK_BYTES = 4096;

const sealerOf = (compression: Compression) =>
  new FrameSealer({
    domainId: DOMAIN,
    keyId: Buffer.alloc(16, 1),
    key: KEY,
    firstFrameNo: 0,
    endFrameNo: 2 ** 40,
    compression,
  });

/** Small blocks that lie behind one another, as a worker has them, for one frame each. */
function groupsOf(bytes: Buffer): PlainBlock[][] {
  const ids = new KeyedHasher(KEY);
  const groups: PlainBlock[][] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    if (at % MIB === 0) groups.push([]);
    const piece = bytes.subarray(at, at + BLOCK_BYTES);
    const id = ids.digest(piece);
    groups
      .at(-1)!
      .push({ id, length: piece.length, kind: BlockKind.data, children: Buffer.alloc(0), bytes: piece });
  }
  return groups;
}

const sealing = (compression: Compression): MicroCase => ({
  name: `frames sealed, ${compression}`,
  unit: 'byte',
  prepare(scale) {
    const bytes = text(Math.ceil(16 * MIB * scale));
    const groups = groupsOf(bytes);
    const sealer = sealerOf(compression);
    let frames: SealedFrame[] = [];
    return {
      run() {
        frames = groups.map((group) => sealer.seal(group));
        return bytes.length;
      },
      check() {
        const stored = frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
        hold(stored < bytes.length === (compression !== 'off'), 'text shrinks, unless it should not');
        const plain = frames.map((frame) => openFrame(frame.bytes, DOMAIN, KEY));
        hold(Buffer.concat(plain).equals(bytes), 'the frames hold the blocks');
      },
      close: () => sealer.close(),
    };
  },
});

const opening: MicroCase = {
  name: 'frames opened',
  unit: 'byte',
  prepare(scale) {
    const bytes = text(Math.ceil(64 * MIB * scale));
    const sealer = sealerOf('fast');
    const frames = groupsOf(bytes).map((group) => sealer.seal(group));
    sealer.close();
    const memory = new PlainMemory();
    let lengths: number[] = [];
    return {
      run() {
        lengths = frames.map((frame) => openFrame(frame.bytes, DOMAIN, KEY, memory).length);
        return bytes.length;
      },
      check() {
        hold(lengths.reduce((sum, length) => sum + length, 0) === bytes.length, 'all was opened');
        const last = frames.at(-1)!;
        const end = openFrame(last.bytes, DOMAIN, KEY, memory);
        hold(end.equals(bytes.subarray(bytes.length - end.length)), 'what was opened is what was sealed');
      },
    };
  },
};

const blockIds = (name: string, length: number): MicroCase => ({
  name,
  unit: 'block',
  prepare(scale) {
    const bytes = text(length);
    const count = Math.ceil((20_000 * scale * 2048) / length);
    const hasher = new KeyedHasher(KEY);
    let id: Buffer = Buffer.alloc(0);
    return {
      run() {
        for (let i = 0; i < count; i++) id = hasher.digest(bytes);
        return count;
      },
      check() {
        const [one, other] = [bytes.subarray(0, 100), bytes.subarray(100)];
        hold(id.equals(new KeyedHasher(KEY).update(one).update(other).finish()), 'the id of the bytes');
      },
    };
  },
});

export const frameCases = [
  sealing('fast'),
  sealing('better'),
  sealing('off'),
  opening,
  blockIds('id of a block of 300 bytes', 300),
  blockIds('id of a block of 16 KiB', 16 * 1024),
];
