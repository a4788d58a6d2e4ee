import { PlainMemory } from '../blocks/frame.ts';
import type { FrameBlock } from '../blocks/intake.ts';
import { type IndexedFrame, type PackIndex, packName, readPackIndex } from '../blocks/pack.ts';
import { Blake3Stream } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import type { BlockSupplier } from '../restore/block-supplier.ts';
import { type FrameKeys, FrameReader, isDamage } from '../restore/frame-reader.ts';
import type { PackResult, PackTask } from './pack-task.ts';

const RANGE_BYTES = 2 * 1024 * 1024;

type Problem = PackResult['problems'][number];

/** Bytes of a pack that are read at once, with the frames that begin in them. */
export interface PackRange {
  readonly start: number;
  readonly end: number;
  readonly frames: readonly IndexedFrame[];
}

/** Cuts a pack behind frames, so that the ranges together are the whole pack. */
export function planRanges(frames: readonly IndexedFrame[], size: number): PackRange[] {
  const ranges: PackRange[] = [];
  let start = 0;
  let held: IndexedFrame[] = [];
  for (const frame of [...frames].sort((a, b) => a.offset - b.offset)) {
    held.push(frame);
    const end = frame.offset + frame.length;
    if (end - start < RANGE_BYTES) continue;
    ranges.push({ start, end, frames: held });
    start = end;
    held = [];
  }
  ranges.push({ start, end: size, frames: held });
  return ranges;
}

/** Checks packs, one per task: the index, and if asked every byte against the pack's id and every block against its id. */
export class PackCheck {
  readonly #domainId: string;
  readonly #supplier: BlockSupplier;
  readonly #frames: FrameReader;

  constructor(keys: FrameKeys, supplier: BlockSupplier) {
    this.#domainId = keys.domainId;
    this.#supplier = supplier;
    this.#frames = new FrameReader(keys, supplier);
  }

  /** Throws what is no damage. */
  async run({ pack: id, size, readData }: PackTask): Promise<PackResult> {
    const pack = Buffer.from(id);
    const problems: Problem[] = [];
    const whole = (error: unknown) => {
      if (!isDamage(error)) throw error;
      problems.push({ code: error.code, block: undefined, message: `${packName(pack)}: ${error.message}` });
    };
    let bytes = 0;
    let index: PackIndex | undefined;
    const read = async (offset: number, length: number) => {
      const got = await this.#supplier.read(pack, offset, length);
      bytes += got.length;
      return got;
    };
    try {
      index = await readPackIndex(read, size);
      if (index.domainId !== this.#domainId) throw new TmError('TM1206', 'it belongs to another domain');
      checkFrames(index.frames, size);
    } catch (error) {
      whole(error);
    }
    let blocks = 0;
    if (index && readData && problems.length === 0) {
      try {
        blocks = await this.#readAll(pack, planRanges(index.frames, size), read, problems);
      } catch (error) {
        whole(error);
      }
    }
    const keys = index?.keys.map((key) => Buffer.from(key.id)) ?? [];
    return { bytes, blocks, keys, problems };
  }

  async #readAll(
    pack: Buffer,
    ranges: readonly PackRange[],
    read: (offset: number, length: number) => Promise<Buffer>,
    problems: Problem[],
  ): Promise<number> {
    const hasher = new Blake3Stream();
    const memory = new PlainMemory();
    let blocks = 0;
    let next: Promise<Buffer> | undefined;
    for (const [i, { start, end, frames }] of ranges.entries()) {
      const bytes = await (next ?? read(start, end - start));
      const after = ranges[i + 1];
      next = after && read(after.start, after.end - after.start);
      next?.catch(() => {});
      hasher.update(bytes);
      for (const frame of frames) {
        const from = frame.offset - start;
        const sealed = bytes.subarray(from, from + frame.length);
        const inFrame = frame.blocks;
        problems.push(...(await this.#frame(pack, inFrame, sealed, memory)));
        blocks += inFrame.length;
      }
      this.#supplier.release(bytes);
    }
    // Where single blocks are named already, they say more.
    if (!hasher.finish().equals(pack) && problems.length === 0)
      throw new TmError('TM1206', 'its bytes differ from its id');
    return blocks;
  }

  async #frame(
    pack: Buffer,
    blocks: readonly FrameBlock[],
    bytes: Buffer,
    memory: PlainMemory,
  ): Promise<Problem[]> {
    const problems: Problem[] = [];
    const bad = (id: Buffer, code: Problem['code']) =>
      problems.push({
        code,
        block: Buffer.from(id),
        message: `block ${id.toString('hex')} in ${packName(pack)}`,
      });
    let plain: Buffer;
    try {
      plain = await this.#frames.open(bytes, memory);
    } catch (error) {
      if (!isDamage(error)) throw error;
      for (const { id } of blocks) bad(id, error.code);
      return problems;
    }
    let at = 0;
    for (const { id, length } of blocks) {
      const block = plain.subarray(at, at + length);
      at += length;
      if (block.length !== length || !this.#frames.idOf(block).equals(id)) bad(id, 'TM1601');
    }
    return problems;
  }
}

/** Frames that reach over each other or over the end would be read wrongly. */
function checkFrames(frames: readonly IndexedFrame[], size: number): void {
  let end = 0;
  for (const { offset, length } of frames) {
    if (offset < end || offset + length > size) throw new TmError('TM1206', 'its frames overlap');
    end = offset + length;
  }
}
