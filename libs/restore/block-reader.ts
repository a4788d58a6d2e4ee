import type { BlockPlace, BlockSupplier } from './block-supplier.ts';
import { type FrameKeys, FrameReader, inBlock, placeOrThrow } from './frame-reader.ts';

/** Plaintext of frames that is kept: neighbouring blocks share frames. */
const KEPT_BYTES = 16 * 1024 * 1024;

/** Reads blocks one after another, as `cat` does. Each block is checked against its id. */
export class BlockReader {
  readonly #supplier: BlockSupplier;
  readonly #frames: FrameReader;
  /** Plaintexts by pack and offset; the least recently used goes first. */
  readonly #kept = new Map<string, Buffer>();
  #bytes = 0;

  constructor(keys: FrameKeys, supplier: BlockSupplier) {
    this.#supplier = supplier;
    this.#frames = new FrameReader(keys, supplier);
  }

  /** Throws TM1205, TM1206, TM1404 or TM1601, naming object and block. */
  readonly read = async (id: Buffer, length: number): Promise<Buffer> => {
    const place = placeOrThrow(id, await this.#supplier.locate(Buffer.from(id)));
    try {
      const key = `${place.pack.toString('latin1')}${place.frameOffset}`;
      const plain = this.#take(key) ?? (await this.#open(place));
      this.#keep(key, plain);
      return this.#frames.blockIn(plain, id, length, place);
    } catch (error) {
      throw inBlock(error, id, place.pack);
    }
  };

  async #open({ pack, frameOffset, frameLength }: BlockPlace): Promise<Buffer> {
    return this.#frames.open(await this.#supplier.read(pack, frameOffset, frameLength));
  }

  #take(key: string): Buffer | undefined {
    const plain = this.#kept.get(key);
    if (plain && this.#kept.delete(key)) this.#bytes -= plain.length;
    return plain;
  }

  #keep(key: string, plain: Buffer): void {
    this.#kept.set(key, plain);
    this.#bytes += plain.length;
    for (const [oldest, bytes] of this.#kept) {
      if (this.#bytes <= KEPT_BYTES || oldest === key) return;
      this.#kept.delete(oldest);
      this.#bytes -= bytes.length;
    }
  }
}
