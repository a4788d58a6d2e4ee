import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { BlockKind, FrameBlock } from './intake.ts';

/**
 * What a frame holds, as it stands in a pack's index: u32 blocks, each 32 bytes id, u32 length, u8 kind, u16 children,
 * their ids.
 */
const BLOCK_BYTES = 39;
const NONE = Buffer.alloc(0);

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
    const id = input.bytes(32);
    const length = input.u32();
    const kind = input.u8() as BlockKind;
    const children = input.u16();
    blocks.push({ id, length, kind, children: children === 0 ? NONE : input.bytes(children * 32) });
  }
  return blocks;
}

/** Passes them by; gives where they begin and end. */
export function skipFrameBlocks(input: ByteReader): { readonly start: number; readonly end: number } {
  const start = input.offset;
  for (let count = input.u32(); count > 0; count--) {
    input.skip(37);
    input.skip(input.u16() * 32);
  }
  return { start, end: input.offset };
}

/** Their ids alone, as latin1 text to look up by: no object for each block. */
export function frameBlockIds(index: Buffer): string[] {
  const input = new ByteReader(index);
  return Array.from({ length: input.u32() }, () => {
    const at = input.skip(32);
    input.skip(5);
    input.skip(input.u16() * 32);
    return index.toString('latin1', at, at + 32);
  });
}

export const decodeFrameBlocks = (index: Buffer): FrameBlock[] => readFrameBlocks(new ByteReader(index));
