import { PLACE_BYTES } from '../registry/port-blocks.ts';
import { isPlace, placeAt } from './block-supplier.ts';

/** Bytes of packs that are read at once, and gaps between frames that are read along. */
const RANGE_BYTES = 2 * 1024 * 1024;
const GAP_BYTES = 64 * 1024;
const PACK_BYTES = 32;

export interface FrameRead {
  readonly offset: number;
  readonly length: number;
  /** By their numbers in the list that was planned for. */
  readonly blocks: readonly number[];
}

/** One read of a pack: frames that lie together. */
export interface RangeRead {
  readonly pack: Buffer;
  readonly offset: number;
  readonly length: number;
  readonly frames: readonly FrameRead[];
}

interface GrowingRange extends RangeRead {
  length: number;
  readonly frames: (FrameRead & { readonly blocks: number[] })[];
}

/**
 * Each frame that holds one of the blocks once, by pack and offset; neighbours in one read. `places` as `locate` gives
 * them; blocks that are unknown are left out.
 */
export function planReads(places: Buffer): RangeRead[] {
  const packs = packNumbers(places);
  const ranges: GrowingRange[] = [];
  let lastPack = -1;
  for (const i of inOrder(places, packs)) {
    const at = i * PLACE_BYTES;
    const offset = places.readUInt32LE(at + 32);
    const length = places.readUInt32LE(at + 36);
    const range = packs[i] === lastPack ? ranges.at(-1) : undefined;
    lastPack = packs[i]!;
    const frame = range?.frames.at(-1);
    if (frame?.offset === offset) {
      frame.blocks.push(i);
      continue;
    }
    const next = { offset, length, blocks: [i] };
    const end = range ? range.offset + range.length : 0;
    const reach = offset + length - (range?.offset ?? 0);
    if (range && offset - end <= GAP_BYTES && reach <= RANGE_BYTES) {
      range.length = Math.max(range.length, reach);
      range.frames.push(next);
    } else ranges.push({ pack: placeAt(places, i)!.pack, offset, length, frames: [next] });
  }
  return ranges;
}

/** Numbers of the blocks that are known, by pack, frame and place in the frame. */
function inOrder(places: Buffer, packs: Int32Array): Int32Array {
  const known = Int32Array.from({ length: packs.length }, (_, i) => i).filter((i) => packs[i]! >= 0);
  return known.sort((a, b) => {
    const [left, right] = [a * PLACE_BYTES, b * PLACE_BYTES];
    return (
      packs[a]! - packs[b]! ||
      places.readUInt32LE(left + 32) - places.readUInt32LE(right + 32) ||
      places.readUInt32LE(left + 40) - places.readUInt32LE(right + 40)
    );
  });
}

/** For each block a number of its pack, in the order of the packs' ids; -1: unknown. Most lie in the pack of the one before. */
function packNumbers(places: Buffer): Int32Array {
  const numbers = new Int32Array(places.length / PLACE_BYTES);
  const firsts: number[] = [];
  let last = -1;
  for (let i = 0; i < numbers.length; i++) {
    const at = i * PLACE_BYTES;
    const isSame = (first: number) =>
      places.compare(places, first, first + PACK_BYTES, at, at + PACK_BYTES) === 0;
    if (!isPlace(places, i)) numbers[i] = -1;
    else {
      if (last < 0 || !isSame(firsts[last]!)) {
        last = firsts.findIndex(isSame);
        if (last < 0) last = firsts.push(at) - 1;
      }
      numbers[i] = last;
    }
  }
  const pack = (first: number) => places.subarray(first, first + PACK_BYTES);
  const sorted = firsts.map((_, n) => n).sort((a, b) => Buffer.compare(pack(firsts[a]!), pack(firsts[b]!)));
  const rank = new Int32Array(firsts.length);
  sorted.forEach((n, i) => {
    rank[n] = i;
  });
  return numbers.map((n) => (n < 0 ? -1 : rank[n]!));
}
