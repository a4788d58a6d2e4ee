import { PlainMemory } from '../blocks/frame.ts';
import { release } from '../codec/release.ts';
import type { TmError } from '../model/errors.ts';
import { type BlockSupplier, placeAt } from './block-supplier.ts';
import { damaged, type FrameReader, inBlock, isDamage } from './frame-reader.ts';
import { type PlacedBlock, planReads, type RangeRead } from './read-plan.ts';

/** A block that somebody waits for. `deliver` gets bytes that are checked and valid only during the call. */
export interface WantedBlock {
  readonly id: Buffer;
  readonly length: number;
  deliver(bytes: Buffer): void;
  /** It is missing or damaged. */
  fail(error: TmError): void;
}

interface Placed extends PlacedBlock {
  readonly wanted: WantedBlock;
}

/** Brings many blocks at once, in the order in which they lie in the store: each frame is read and opened once. */
export class BlockFetcher {
  readonly #supplier: BlockSupplier;
  readonly #frames: FrameReader;

  constructor(supplier: BlockSupplier, frames: FrameReader) {
    this.#supplier = supplier;
    this.#frames = frames;
  }

  /** Throws what is no damage: an interrupt, a store or registry that can't be reached. */
  async fetch(wanted: readonly WantedBlock[]): Promise<void> {
    if (wanted.length === 0) return;
    const places = await this.#supplier.locate(Buffer.concat(wanted.map(({ id }) => id)));
    const placed: Placed[] = [];
    wanted.forEach((one, i) => {
      const place = placeAt(places, i);
      if (place) placed.push({ id: one.id, length: one.length, place, wanted: one });
      else one.fail(damaged(one.id));
    });
    const ranges = planReads(placed);
    const memory = new PlainMemory();
    let next = this.#read(ranges[0]);
    for (const [i, range] of ranges.entries()) {
      const bytes = await next;
      next = this.#read(ranges[i + 1]);
      next.catch(() => {});
      if (bytes) {
        await this.#deliverRange(range, bytes, memory);
        release(bytes);
      } else await this.#deliverSingly(range, memory);
    }
  }

  /** Undefined where a part of the range is missing or damaged. */
  async #read(range: RangeRead<Placed> | undefined): Promise<Buffer | undefined> {
    if (!range) return undefined;
    try {
      return await this.#supplier.read(range.pack, range.offset, range.length);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  async #deliverSingly({ pack, frames }: RangeRead<Placed>, memory: PlainMemory): Promise<void> {
    for (const { offset, length, blocks } of frames) {
      try {
        await this.#deliverFrame(await this.#supplier.read(pack, offset, length), blocks, memory);
      } catch (error) {
        failAll(blocks, error);
      }
    }
  }

  async #deliverRange(
    { frames, offset: start }: RangeRead<Placed>,
    bytes: Buffer,
    memory: PlainMemory,
  ): Promise<void> {
    for (const { offset, length, blocks } of frames) {
      const from = offset - start;
      try {
        await this.#deliverFrame(bytes.subarray(from, from + length), blocks, memory);
      } catch (error) {
        failAll(blocks, error);
      }
    }
  }

  async #deliverFrame(bytes: Buffer, blocks: readonly Placed[], memory: PlainMemory): Promise<void> {
    const plain = await this.#frames.open(bytes, memory);
    let block: Buffer | undefined;
    let last: Placed | undefined;
    for (const placed of blocks) {
      const { id, length, place, wanted } = placed;
      try {
        if (!last?.id.equals(id) || last.length !== length || !block)
          block = this.#frames.blockIn(plain, id, length, place);
      } catch (error) {
        failAll([placed], error);
        continue;
      }
      last = placed;
      wanted.deliver(block);
    }
  }
}

/** Throws the error on where it is no damage. */
function failAll(blocks: readonly Placed[], error: unknown): void {
  if (!isDamage(error)) throw error;
  for (const { id, place, wanted } of blocks) wanted.fail(inBlock(error, id, place.pack) as TmError);
}
