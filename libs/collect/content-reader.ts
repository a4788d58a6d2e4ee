import type { Chunker } from '../blocks/chunker.ts';
import { RecipeBuilder } from '../blocks/recipe-builder.ts';
import { isZero } from '../blocks/zero.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { KeyedHasher } from '../model/digests.ts';
import { encodeHoles, type Hole, MAX_HOLES, type Recipe, type RecipeItem } from '../model/entry.ts';
import { ENXIO, lseek, PosixError, pread, SEEK_DATA, SEEK_HOLE } from '../posix/index.ts';
import type { BlockBatch } from './block-batch.ts';

const READ_BYTES = 1024 * 1024;
/** Room that a read has to find in the lane's memory before what lies there is sent off. */
const MIN_ROOM = 64 * 1024;

interface Extent {
  readonly from: number;
  readonly to: number;
}

export interface Content {
  readonly digest: Buffer;
  readonly recipe: Recipe;
  /** Bytes from the first to the last, holes included, as really read. */
  readonly size: number;
}

const NO_HOLES: Recipe['holes'] = { kind: 'inline', holes: [] };

/**
 * Reads a file's content into the lane's memory (the chunker's own), cuts the data stream into blocks and adds them
 * to the lane's batch. Small files lie behind one another there; it is emptied when full.
 */
export class ContentReader {
  readonly #chunker: Chunker;
  readonly #memory: Buffer;
  readonly #batch: BlockBatch;
  readonly #digester: KeyedHasher;
  /** The memory holds sent or held blocks up to `start`, and the beginning of the next block up to `end`. */
  #start = 0;
  #end = 0;

  constructor(chunker: Chunker, batch: BlockBatch, digester: KeyedHasher) {
    this.#chunker = chunker;
    this.#memory = chunker.buffer;
    this.#batch = batch;
    this.#digester = digester;
  }

  /** Sends off what is held; the memory is free afterwards but for a block's beginning, which moves to the front. */
  async flush(): Promise<void> {
    await this.#batch.flush();
    this.#memory.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }

  /**
   * `size` and `sparse` are what fstat says; the file may have changed since, which the caller checks. Throws PosixError;
   * then nothing of the file is left to get into the next one. A promise only where it may have to wait for room: one for
   * each of a million small files costs as much as hashing them.
   */
  read(fd: number, size: number, sparse: boolean): Content | Promise<Content> {
    const hasRoom = size <= this.#memory.length - this.#end;
    if (!sparse && hasRoom && size <= this.#chunker.wholeUpTo) return this.#readWhole(fd, size);
    return this.#readCut(fd, size, sparse);
  }

  /** Of a file that makes one block at most and finds room. */
  #readWhole(fd: number, size: number): Content {
    const start = this.#end;
    let end = start;
    while (end < start + size) {
      const count = pread(fd, this.#memory, end, start + size - end, end - start);
      if (count < 0) throw new PosixError(-count, 'read');
      if (count === 0) break;
      end += count;
    }
    const bytes = this.#memory.subarray(start, end);
    const items: readonly RecipeItem[] = bytes.length === 0 ? [] : [this.#item(bytes)];
    this.#start = this.#end = end;
    const digest = this.#digester.digest(bytes);
    return { digest, recipe: { depth: 0, items, holes: NO_HOLES }, size: bytes.length };
  }

  async #readCut(fd: number, size: number, sparse: boolean): Promise<Content> {
    try {
      return await this.#readAll(fd, size, sparse);
    } catch (error) {
      this.#end = this.#start;
      this.#chunker.forget();
      this.#digester.finish();
      throw error;
    }
  }

  async #readAll(fd: number, size: number, sparse: boolean): Promise<Content> {
    const { extents, holes } = sparse ? layout(fd, size) : { extents: [{ from: 0, to: size }], holes: [] };
    const recipe = new RecipeBuilder((kind, bytes, children) => this.#batch.add(bytes, kind, children));
    let end = 0;
    let isShort = false;
    for (const extent of extents) {
      end = await this.#readExtent(fd, extent, recipe);
      isShort = end < extent.to;
      if (isShort) break; // it shrank: what comes now would be put where this lacks
    }
    this.#cut(recipe, true);
    const own = isShort ? holes.filter(({ offset }) => offset < end) : holes;
    if (own.length > 0) this.#digester.update(encodeHoles(own, new ByteWriter(own.length * 16 + 4)).finish());
    const last = own.at(-1);
    const whole = Math.max(end, last ? last.offset + last.length : 0);
    return { digest: this.#digester.finish(), recipe: recipe.finish(own), size: whole };
  }

  async #readExtent(fd: number, extent: Extent, recipe: RecipeBuilder): Promise<number> {
    let at = extent.from;
    while (at < extent.to) {
      if (this.#memory.length - this.#end < MIN_ROOM) await this.flush();
      const room = Math.min(READ_BYTES, extent.to - at, this.#memory.length - this.#end);
      const count = pread(fd, this.#memory, this.#end, room, at);
      if (count < 0) throw new PosixError(-count, 'read');
      if (count === 0) break;
      this.#digester.update(this.#memory.subarray(this.#end, this.#end + count));
      this.#end += count;
      at += count;
      this.#cut(recipe, false);
    }
    return at;
  }

  #cut(recipe: RecipeBuilder, final: boolean): void {
    while (this.#start < this.#end) {
      const cut = this.#chunker.cut(this.#memory, this.#start, this.#end, final);
      if (cut === 0) return;
      recipe.add(this.#item(this.#memory.subarray(this.#start, cut)));
      this.#start = cut;
    }
  }

  #item(bytes: Buffer): RecipeItem {
    if (isZero(bytes)) return { kind: 'zeros', length: bytes.length };
    return { kind: 'block', id: this.#batch.add(bytes), length: bytes.length };
  }
}

/** Data extents and holes of a file; where there are too many holes it counts as having none. */
function layout(fd: number, size: number): { extents: Extent[]; holes: Hole[] } {
  const whole = { extents: [{ from: 0, to: size }], holes: [] };
  const extents: Extent[] = [];
  const holes: Hole[] = [];
  for (let at = 0; at < size; ) {
    const data = lseek(fd, at, SEEK_DATA);
    if (data === -ENXIO) {
      holes.push({ offset: at, length: size - at });
      break;
    }
    if (data < 0) return whole;
    if (data > at) holes.push({ offset: at, length: data - at });
    const end = lseek(fd, data, SEEK_HOLE);
    if (end < 0 || holes.length > MAX_HOLES) return whole;
    extents.push({ from: data, to: Math.min(end, size) });
    at = end;
  }
  return { extents, holes };
}
