import { holesOf, recipeItems } from '../blocks/recipe-reader.ts';
import type { EntryState, Hole } from '../model/entry.ts';
import type { BlockReader } from './block-reader.ts';

/** A stretch of a file to write: bytes at an offset; holes are what is not named. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

const ZEROS = Buffer.alloc(1024 * 1024);

/** Maps positions of the data stream to those of the file, around its holes. */
class Positions {
  readonly #holes: readonly Hole[];
  #next = 0;
  /** Position in the file of the next byte of the stream. */
  at = 0;

  constructor(holes: readonly Hole[]) {
    this.#holes = holes;
    this.#skip();
  }

  #skip(): void {
    for (let hole = this.#holes[this.#next]; hole && hole.offset <= this.at; hole = this.#holes[this.#next]) {
      this.at = hole.offset + hole.length;
      this.#next++;
    }
  }

  /** Bytes that lie together from here, at most `wanted`. */
  take(wanted: number): number {
    const hole = this.#holes[this.#next];
    const count = hole ? Math.min(wanted, hole.offset - this.at) : wanted;
    this.at += count;
    this.#skip();
    return count;
  }
}

/** What of a file's content is to be written where. Zeros are written too: they were allocated. */
export async function* pieces(state: EntryState, reader: BlockReader): AsyncGenerator<Piece> {
  if (!state.recipe) return;
  const positions = new Positions(await holesOf(state.recipe, reader.read));
  for await (const item of recipeItems(state.recipe, reader.read)) {
    let left = item.length;
    const bytes = item.kind === 'block' ? await reader.read(item.id, item.length) : undefined;
    while (left > 0) {
      const offset = positions.at;
      const count = positions.take(bytes ? left : Math.min(left, ZEROS.length));
      const done = item.length - left;
      yield { offset, bytes: bytes ? bytes.subarray(done, done + count) : ZEROS.subarray(0, count) };
      left -= count;
    }
  }
}

/** Content of a file from the first byte to the last, holes as zeros. */
export async function* contentOf(state: EntryState, reader: BlockReader): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const { offset, bytes } of pieces(state, reader)) {
    for (; at < offset; at += Math.min(ZEROS.length, offset - at))
      yield ZEROS.subarray(0, Math.min(ZEROS.length, offset - at));
    yield bytes;
    at = offset + bytes.length;
  }
  for (; at < state.size; at += Math.min(ZEROS.length, state.size - at))
    yield ZEROS.subarray(0, Math.min(ZEROS.length, state.size - at));
}
