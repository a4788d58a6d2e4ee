import type { BlockPlace } from './block-supplier.ts';

/** Bytes of packs that are read at once, and gaps between frames that are read along. */
const RANGE_BYTES = 2 * 1024 * 1024;
const GAP_BYTES = 64 * 1024;

/** A block that is needed, wherever it is. */
export interface PlacedBlock {
  readonly id: Buffer;
  readonly length: number;
  readonly place: BlockPlace;
}

export interface FrameRead<B extends PlacedBlock> {
  readonly offset: number;
  readonly length: number;
  readonly blocks: readonly B[];
}

/** One read of a pack: frames that lie together. */
export interface RangeRead<B extends PlacedBlock> {
  readonly pack: Buffer;
  readonly offset: number;
  readonly length: number;
  readonly frames: readonly FrameRead<B>[];
}

const byPlace = (a: PlacedBlock, b: PlacedBlock): number =>
  Buffer.compare(a.place.pack, b.place.pack) ||
  a.place.frameOffset - b.place.frameOffset ||
  a.place.offset - b.place.offset;

/** Each frame that holds one of the blocks once, by pack and offset; neighbours in one read. */
export function planReads<B extends PlacedBlock>(blocks: readonly B[]): RangeRead<B>[] {
  const ranges: { pack: Buffer; offset: number; end: number; frames: FrameOf<B>[] }[] = [];
  for (const block of [...blocks].sort(byPlace)) {
    const { pack, frameOffset, frameLength } = block.place;
    const range = ranges.at(-1);
    const frame = range?.frames.at(-1);
    const samePack = range?.pack.equals(pack) === true;
    if (samePack && frame?.offset === frameOffset) {
      frame.blocks.push(block);
      continue;
    }
    const end = frameOffset + frameLength;
    const next = { offset: frameOffset, length: frameLength, blocks: [block] };
    if (range && samePack && frameOffset - range.end <= GAP_BYTES && end - range.offset <= RANGE_BYTES) {
      range.end = Math.max(range.end, end);
      range.frames.push(next);
    } else ranges.push({ pack, offset: frameOffset, end, frames: [next] });
  }
  return ranges.map(({ pack, offset, end, frames }) => ({ pack, offset, length: end - offset, frames }));
}

interface FrameOf<B> {
  readonly offset: number;
  readonly length: number;
  readonly blocks: B[];
}
