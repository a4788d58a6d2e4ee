import { PlainMemory } from '../blocks/frame.ts';
import type { TmError } from '../model/errors.ts';
import { PLACE_BYTES } from '../registry/port-blocks.ts';
import { type BlockSupplier, isPlace } from './block-supplier.ts';
import { damaged, type FrameReader, inBlock, isDamage } from './frame-reader.ts';
import { planReads, type RangeRead } from './read-plan.ts';
import type { WantedBlocks } from './wanted-blocks.ts';

/** Brings many blocks at once, in the order in which they lie in the store: each frame is read and opened once. */
export class BlockFetcher {
  readonly #supplier: BlockSupplier;
  readonly #frames: FrameReader;
  /** Of fetches that have ended. */
  readonly #memories: PlainMemory[] = [];
  readonly #readsAhead: number;

  /** `readsAhead`: how many reads are asked for beyond the one that is waited for or worked on; at least 1. */
  constructor(supplier: BlockSupplier, frames: FrameReader, readsAhead = 1) {
    this.#supplier = supplier;
    this.#frames = frames;
    this.#readsAhead = readsAhead;
  }

  /** Throws what is no damage: an interrupt, a store or registry that can't be reached. */
  async fetch(wanted: WantedBlocks): Promise<void> {
    if (wanted.count === 0) return;
    const places = await this.#supplier.locate(wanted.ids());
    for (let i = 0; i < wanted.count; i++) if (!isPlace(places, i)) wanted.fail(i, damaged(wanted.id(i)));
    const memory = this.#memories.pop() ?? new PlainMemory();
    try {
      const work = { wanted, places, memory, readsAhead: this.#readsAhead };
      await new Fetch(this.#supplier, this.#frames, work).run();
    } finally {
      this.#memories.push(memory);
    }
  }
}

/** What one call of `fetch` works on. */
interface Work {
  readonly wanted: WantedBlocks;
  readonly places: Buffer;
  readonly memory: PlainMemory;
  readonly readsAhead: number;
}

class Fetch {
  readonly #supplier: BlockSupplier;
  readonly #frames: FrameReader;
  readonly #work: Work;

  constructor(supplier: BlockSupplier, frames: FrameReader, work: Work) {
    this.#supplier = supplier;
    this.#frames = frames;
    this.#work = work;
  }

  async run(): Promise<void> {
    const { places, readsAhead } = this.#work;
    const ranges = planReads(places);
    const reads: Promise<Buffer | undefined>[] = [];
    const ask = (): void => {
      const read = this.#read(ranges[reads.length]);
      read.catch(() => {}); // whoever waits for it is told
      reads.push(read);
    };
    for (const [i, range] of ranges.entries()) {
      while (reads.length < Math.min(ranges.length, i + readsAhead)) ask();
      const bytes = await reads[i];
      if (reads.length < ranges.length) ask();
      if (bytes) {
        await this.#deliverRange(range, bytes);
        this.#supplier.release(bytes);
      } else await this.#deliverSingly(range);
    }
  }

  /** Undefined where a part of the range is missing or damaged. */
  async #read(range: RangeRead | undefined): Promise<Buffer | undefined> {
    if (!range) return undefined;
    try {
      return await this.#supplier.read(range.pack, range.offset, range.length);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  async #deliverSingly({ pack, frames }: RangeRead): Promise<void> {
    for (const { offset, length, blocks } of frames) {
      try {
        const bytes = await this.#supplier.read(pack, offset, length);
        await this.#deliverFrame(pack, bytes, blocks);
        this.#supplier.release(bytes);
      } catch (error) {
        this.#failAll(pack, blocks, error);
      }
    }
  }

  async #deliverRange({ pack, frames, offset: start }: RangeRead, bytes: Buffer): Promise<void> {
    for (const { offset, length, blocks } of frames) {
      const from = offset - start;
      try {
        await this.#deliverFrame(pack, bytes.subarray(from, from + length), blocks);
      } catch (error) {
        this.#failAll(pack, blocks, error);
      }
    }
  }

  async #deliverFrame(pack: Buffer, bytes: Buffer, blocks: readonly number[]): Promise<void> {
    const { wanted, places, memory } = this.#work;
    const last = blocks.at(-1)! * PLACE_BYTES; // they come in the order of the frame
    const end = places.readUInt32LE(last + 40) + places.readUInt32LE(last + 44);
    const plain = await this.#frames.open(bytes, memory, end);
    let id: Buffer | undefined;
    let before = -1;
    for (const i of blocks) {
      const from = places.readUInt32LE(i * PLACE_BYTES + 40);
      const length = places.readUInt32LE(i * PLACE_BYTES + 44);
      const block = plain.subarray(from, from + length);
      if (!id || from !== before) id = this.#frames.idOf(block); // many files may have one block
      before = from;
      // Promise 10.
      if (block.length === wanted.length(i) && wanted.has(i, id)) wanted.deliver(i, block);
      else wanted.fail(i, damaged(wanted.id(i), pack));
    }
  }

  /** Throws the error on where it is no damage. */
  #failAll(pack: Buffer, blocks: readonly number[], error: unknown): void {
    if (!isDamage(error)) throw error;
    const { wanted } = this.#work;
    for (const i of blocks) wanted.fail(i, inBlock(error, wanted.id(i), pack) as TmError);
  }
}
