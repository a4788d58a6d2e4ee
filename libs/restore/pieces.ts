import type { ContentItem } from '../blocks/recipe-reader.ts';
import type { Hole } from '../model/entry.ts';

/** A stretch of a file to write: `length` bytes at `offset`, from `from` on in the block; without a block, zeros. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly block: { readonly id: Buffer; readonly length: number } | undefined;
  readonly from: number;
}

/**
 * Lays a file's data stream around its holes: every byte of the file belongs to one piece or to a hole. Zeros of the
 * stream are pieces: they were allocated.
 */
export class PieceLayout {
  readonly #holes: readonly Hole[];
  #next = 0;
  #at = 0;

  constructor(holes: readonly Hole[]) {
    this.#holes = holes;
    this.#skip();
  }

  #skip(): void {
    for (
      let hole = this.#holes[this.#next];
      hole && hole.offset <= this.#at;
      hole = this.#holes[this.#next]
    ) {
      this.#at = Math.max(this.#at, hole.offset + hole.length);
      this.#next++;
    }
  }

  /** Where the stream's next byte lies in the file. */
  get offset(): number {
    return this.#at;
  }

  /** The pieces of the stream's next item. */
  *place(item: ContentItem): Generator<Piece> {
    const block = item.kind === 'block' ? { id: item.id, length: item.length } : undefined;
    for (let from = 0; from < item.length; ) {
      const hole = this.#holes[this.#next];
      const length = Math.min(item.length - from, hole ? hole.offset - this.#at : item.length);
      yield { offset: this.#at, length, block, from };
      from += length;
      this.#at += length;
      this.#skip();
    }
  }
}

/** One occurrence of a block in a file: more than one piece where holes lie in between. */
export interface BlockPieces {
  readonly id: Buffer;
  readonly length: number;
  readonly pieces: Piece[];
}

/** Sorts pieces, given in order, into those of blocks and zeros. */
export function groupPieces(pieces: readonly Piece[]): { blocks: BlockPieces[]; zeros: Piece[] } {
  const blocks: BlockPieces[] = [];
  const zeros: Piece[] = [];
  for (const piece of pieces) {
    if (!piece.block) zeros.push(piece);
    else if (piece.from === 0) blocks.push({ ...piece.block, pieces: [piece] });
    else blocks.at(-1)!.pieces.push(piece);
  }
  return { blocks, zeros };
}
