import { FRAME_CHECKSUM_BYTES, parseFrameHeader } from '../blocks/frame.ts';
import { encodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { type IndexedFrame, packName, readPackIndex } from '../blocks/pack.ts';
import { blake3 } from '../model/digests.ts';
import type { Recipe } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { BlockRow, BlocksTable } from '../registry/port.ts';
import type { Store } from '../store/port.ts';

const ID_BYTES = 32;
const ROWS_A_QUERY = 256;
/** Indexes kept while a file is walked: its frames lie in few packs at a time. */
const KEPT_INDEXES = 4;

type FramesByOffset = ReadonlyMap<number, IndexedFrame>;

/**
 * The frames that a file's blocks lie in, without keys: recipe blocks name their children in the clear. Hole map first,
 * then the recipe's blocks in order, each recipe block before what it names; a block lies in the frame given last or in
 * the next one, so that a reader has to keep one frame and the recipe blocks above it.
 */
export class FileFrames {
  readonly #blocks: BlocksTable;
  readonly #store: Store;
  readonly #domain: string;
  readonly #indexes = new Map<string, FramesByOffset>();

  constructor(blocks: BlocksTable, store: Store, domain: string) {
    this.#blocks = blocks;
    this.#store = store;
    this.#domain = domain;
  }

  /** Throws TM1601 (an unknown block), TM1605 (a recipe that can't be), TM1205, TM1206. */
  async *of(recipe: Recipe): AsyncGenerator<SealedFrame> {
    let last = '';
    for await (const row of this.#rows(recipe)) {
      const place = `${row.pack.toString('latin1')}${row.frameOffset}`;
      if (place !== last) yield await this.#frame(row);
      last = place;
    }
  }

  async *#rows({ items, holes, depth }: Recipe): AsyncGenerator<BlockRow> {
    if (holes.kind === 'block') yield* this.#walk([holes.id], 0);
    const ids = items.flatMap((item) => (item.kind === 'zeros' ? [] : [item.id]));
    yield* this.#walk(ids, depth);
  }

  async *#walk(ids: readonly Buffer[], depth: number): AsyncGenerator<BlockRow> {
    for (let at = 0; at < ids.length; at += ROWS_A_QUERY) {
      const some = ids.slice(at, at + ROWS_A_QUERY);
      const rows = await this.#blocks.locate(this.#domain, some);
      for (const [i, row] of rows.entries()) {
        if (!row) throw new TmError('TM1601', `block ${some[i]!.toString('hex')} is not in the registry`);
        yield row;
        if (row.kind !== BlockKind.recipe) continue;
        if (depth === 0) throw new TmError('TM1605', 'a recipe deeper than it says');
        yield* this.#walk(idsIn(row.children), depth - 1);
      }
    }
  }

  async #frame({ pack, frameOffset, frameLength }: BlockRow): Promise<SealedFrame> {
    const name = packName(pack);
    const indexed = (await this.#index(name)).get(frameOffset);
    if (indexed?.length !== frameLength)
      throw new TmError('TM1206', `${name} has no frame at ${frameOffset}`);
    const bytes = await this.#store.read(name, { offset: frameOffset, length: frameLength });
    const checksum = blake3(bytes).subarray(0, FRAME_CHECKSUM_BYTES);
    if (!checksum.equals(indexed.checksum)) throw new TmError('TM1206', `${name}: an altered frame`);
    const { keyId, plainLength } = parseFrameHeader(bytes);
    return { bytes, checksum, keyId, plainLength, index: encodeFrameBlocks(indexed.blocks) };
  }

  async #index(name: string): Promise<FramesByOffset> {
    const kept = this.#indexes.get(name);
    if (kept) return kept;
    const info = await this.#store.stat(name);
    if (!info) throw new TmError('TM1205', name);
    const read = (offset: number, length: number) => this.#store.read(name, { offset, length });
    const { frames } = await readPackIndex(read, info.size);
    const byOffset = new Map(frames.map((frame) => [frame.offset, frame]));
    if (this.#indexes.size >= KEPT_INDEXES) this.#indexes.delete(this.#indexes.keys().next().value!);
    this.#indexes.set(name, byOffset);
    return byOffset;
  }
}

function idsIn(children: Buffer): Buffer[] {
  const ids: Buffer[] = [];
  for (let at = 0; at < children.length; at += ID_BYTES) ids.push(children.subarray(at, at + ID_BYTES));
  return ids;
}
