import type { BlockPieces, Piece } from './pieces.ts';
import type { TargetFile } from './target-file.ts';

/** How the blocks of a file lie in it, by their numbers. */
export interface FileLayout {
  readonly blocks: number;
  /** Stretches that are allocated and hold zeros. */
  readonly zeros: readonly Piece[];
  write(file: TargetFile, block: number, bytes: Buffer): void;
}

/** Most files: one block at most, which is all there is. */
class WholeFile implements FileLayout {
  readonly blocks: number;
  readonly zeros = [];

  constructor(blocks: 0 | 1) {
    this.blocks = blocks;
  }

  write(file: TargetFile, _block: number, bytes: Buffer): void {
    file.write(bytes, 0);
  }
}

const NO_BLOCK = new WholeFile(0);
const ONE_BLOCK = new WholeFile(1);

class BlocksInARow implements FileLayout {
  readonly zeros = [];
  readonly #offsets: readonly number[];

  constructor(offsets: readonly number[]) {
    this.#offsets = offsets;
  }

  get blocks(): number {
    return this.#offsets.length;
  }

  write(file: TargetFile, block: number, bytes: Buffer): void {
    file.write(bytes, this.#offsets[block]!);
  }
}

/** `lengths` of blocks one behind the other, which are the whole file. */
export function plainLayout(lengths: readonly number[]): FileLayout {
  if (lengths.length === 0) return NO_BLOCK;
  if (lengths.length === 1) return ONE_BLOCK;
  let end = 0;
  return new BlocksInARow(
    lengths.map((length) => {
      end += length;
      return end - length;
    }),
  );
}

/** Blocks with holes and zeros in between. */
export class PiecedLayout implements FileLayout {
  readonly zeros: readonly Piece[];
  readonly #blocks: readonly BlockPieces[];

  constructor({
    blocks,
    zeros,
  }: { readonly blocks: readonly BlockPieces[]; readonly zeros: readonly Piece[] }) {
    this.#blocks = blocks;
    this.zeros = zeros;
  }

  get blocks(): number {
    return this.#blocks.length;
  }

  write(file: TargetFile, block: number, bytes: Buffer): void {
    for (const { offset, from, length } of this.#blocks[block]!.pieces)
      file.write(bytes.subarray(from, from + length), offset);
  }
}
