import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { Blake3Stream, blake3 } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { FRAME_CHECKSUM_BYTES } from './frame.ts';
import { decodeFrameBlocks, readFrameBlocks, skipFrameBlocks } from './frame-blocks.ts';
import type { BlockKind, BlockLocation, FrameBlock, SealedFrame } from './intake.ts';

/**
 * A pack, little-endian: "TMPACK01", 16 bytes of the domain's UUID; frames; index; trailer of 56 bytes: u64 offset and
 * u64 length of the index, BLAKE3 of the index (32), "TMPKEND1". Index: u32 keys, each 16 bytes id, u16 length and bytes
 * of the wrapped key; u32 frames, each u32 offset, u32 length, 16 bytes of the frame's BLAKE3, u32 blocks, each 32 bytes
 * id, u32 length, u8 kind, u16 children, their ids. The pack's id is the BLAKE3 of all its bytes.
 */
const MAGIC = Buffer.from('TMPACK01');
const END_MAGIC = Buffer.from('TMPKEND1');
export const PACK_HEADER_BYTES = 24;
const TRAILER_BYTES = 56;
const MAX_PACK_BYTES = 64 * 1024 * 1024;
const MAX_INDEX_BYTES = 32 * 1024 * 1024;

export interface PackedBlock extends BlockLocation {
  readonly id: Buffer;
  readonly kind: BlockKind;
  readonly children: Buffer;
}

export interface FinishedPack {
  readonly id: Buffer;
  readonly size: number;
  readonly parts: readonly Buffer[];
  readonly blocks: readonly PackedBlock[];
}

export interface IndexedFrame {
  readonly offset: number;
  readonly length: number;
  readonly checksum: Buffer;
  /** Of an index that was read, made anew each time: a pack's blocks are thousands. */
  readonly blocks: readonly FrameBlock[];
}

export interface PackIndex {
  readonly domainId: string;
  readonly keys: readonly { readonly id: Buffer; readonly wrapped: Buffer }[];
  readonly frames: readonly IndexedFrame[];
}

export const packName = (id: Buffer): string => {
  const hex = id.toString('hex');
  return `packs/${hex.slice(0, 2)}/${hex}`;
};

const uuidOf = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

/** The domain (UUID) that a pack's header names. Throws TM1206 where it is no pack's header. */
export function domainOfPack(header: Buffer): string {
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw new TmError('TM1206', 'no pack');
  return uuidOf(header.subarray(MAGIC.length, PACK_HEADER_BYTES));
}

/** Puts frames into one pack, in order, and hashes them on the way. */
export class PackBuilder {
  readonly #parts: Buffer[] = [];
  readonly #hasher = new Blake3Stream();
  readonly #frames: { offset: number; length: number; frame: Omit<SealedFrame, 'bytes'> }[] = [];
  #size = 0;

  constructor(domainId: string) {
    this.#append(Buffer.concat([MAGIC, Buffer.from(domainId.replaceAll('-', ''), 'hex')]));
  }

  /** Bytes so far, without the index. */
  get size(): number {
    return this.#size;
  }

  #append(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#hasher.update(bytes);
    this.#size += bytes.length;
  }

  add(frame: SealedFrame): void {
    this.#frames.push({ offset: this.#size, length: frame.bytes.length, frame });
    this.#append(frame.bytes);
  }

  finish(keys: readonly { readonly id: Buffer; readonly wrapped: Buffer }[]): FinishedPack {
    const index = this.#index(keys);
    const trailer = new ByteWriter(TRAILER_BYTES);
    trailer.u64(this.#size);
    trailer.u64(index.length);
    trailer.bytes(blake3(index));
    trailer.bytes(END_MAGIC);
    this.#append(index);
    this.#append(trailer.finish());
    if (this.#size > MAX_PACK_BYTES) throw new TmError('TM1099', `a pack of ${this.#size} bytes`);
    const id = this.#hasher.finish();
    return { id, size: this.#size, parts: this.#parts, blocks: this.#blocks(id) };
  }

  #index(keys: readonly { readonly id: Buffer; readonly wrapped: Buffer }[]): Buffer {
    const out = new ByteWriter(64 * 1024);
    out.u32(keys.length);
    for (const { id, wrapped } of keys) {
      out.bytes(id);
      out.u16(wrapped.length);
      out.bytes(wrapped);
    }
    out.u32(this.#frames.length);
    for (const { offset, length, frame } of this.#frames) {
      out.u32(offset);
      out.u32(length);
      out.bytes(frame.checksum);
      out.bytes(frame.index);
    }
    return out.finish();
  }

  #blocks(pack: Buffer): PackedBlock[] {
    return this.#frames.flatMap(({ offset, length, frame }) =>
      locate(pack, { offset, length, blocks: decodeFrameBlocks(frame.index) }),
    );
  }
}

/** Rows of a frame's blocks: their offsets add up in the frame's order. */
export function locate(
  pack: Buffer,
  frame: Pick<IndexedFrame, 'offset' | 'length' | 'blocks'>,
): PackedBlock[] {
  let at = 0;
  return frame.blocks.map(({ id, length, kind, children }) => {
    const row = {
      pack,
      frameOffset: frame.offset,
      frameLength: frame.length,
      offset: at,
      length,
      id,
      kind,
      children,
    };
    at += length;
    return row;
  });
}

/** Reads a pack's index, two ranges of it. Throws TM1206 where it is no whole pack. */
export async function readPackIndex(
  read: (offset: number, length: number) => Promise<Buffer>,
  size: number,
): Promise<PackIndex> {
  if (size < PACK_HEADER_BYTES + TRAILER_BYTES || size > MAX_PACK_BYTES)
    throw new TmError('TM1206', `a pack of ${size} bytes`);
  const header = await read(0, PACK_HEADER_BYTES);
  const trailer = await read(size - TRAILER_BYTES, TRAILER_BYTES);
  if (!header.subarray(0, MAGIC.length).equals(MAGIC) || !trailer.subarray(48).equals(END_MAGIC))
    throw new TmError('TM1206', 'no pack');
  const input = new ByteReader(trailer);
  const [offset, length] = [input.u64(), input.u64()];
  if (length > MAX_INDEX_BYTES || offset + length + TRAILER_BYTES !== size)
    throw new TmError('TM1206', 'a pack without its index');
  const index = await read(offset, length);
  if (!blake3(index).equals(trailer.subarray(16, 48))) throw new TmError('TM1206', 'an altered index');
  return { domainId: uuidOf(header.subarray(8)), ...parseIndex(index) };
}

function parseIndex(bytes: Buffer): Pick<PackIndex, 'keys' | 'frames'> {
  const input = new ByteReader(bytes);
  const keys: { id: Buffer; wrapped: Buffer }[] = [];
  for (let n = input.u32(); n > 0; n--) keys.push({ id: input.bytes(16), wrapped: input.bytes(input.u16()) });
  const frames: IndexedFrame[] = [];
  for (let n = input.u32(); n > 0; n--) {
    const [offset, length, checksum] = [input.u32(), input.u32(), input.bytes(FRAME_CHECKSUM_BYTES)];
    const { start, end } = skipFrameBlocks(input);
    const blocks = () => readFrameBlocks(new ByteReader(bytes, start, end));
    frames.push({
      offset,
      length,
      checksum,
      get blocks() {
        return blocks();
      },
    });
  }
  input.end();
  return { keys, frames };
}
