import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { BlockKind, FrameBlock } from './intake.ts';

/**
 * What a frame holds, as it stands in a pack's index: u32 blocks, each 32 bytes id, u32 length, u8 kind, u16 children,
 * their ids.
 */
const BLOCK_BYTES = 39;

export function encodeFrameBlocks(blocks: readonly FrameBlock[]): Buffer {
  const out = new ByteWriter(blocks.reduce((sum, block) => sum + BLOCK_BYTES + block.children.length, 4));
  out.u32(blocks.length);
  for (const { id, length, kind, children } of blocks) {
    out.bytes(id);
    out.u32(length);
    out.u8(kind);
    out.u16(children.length / 32);
    out.bytes(children);
  }
  return out.finish();
}

/** Reads one frame's blocks; their buffers are views. */
export function readFrameBlocks(input: ByteReader): FrameBlock[] {
  const blocks: FrameBlock[] = [];
  for (let count = input.u32(); count > 0; count--) {
    const [id, length, kind] = [input.bytes(32), input.u32(), input.u8() as BlockKind];
    blocks.push({ id, length, kind, children: input.bytes(input.u16() * 32) });
  }
  return blocks;
}

export const decodeFrameBlocks = (index: Buffer): FrameBlock[] => readFrameBlocks(new ByteReader(index));
