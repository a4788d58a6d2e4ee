import { isZero } from '../blocks/zero.ts';
import * as posix from '../posix/index.ts';
import type { FrameReader } from './frame-reader.ts';
import { type BlockPieces, groupPieces, type Piece } from './pieces.ts';

const READ_BYTES = 1024 * 1024;

/** Compares files of the target with recipes by their blocks' ids. */
export class LocalContent {
  readonly #frames: FrameReader;
  #memory = Buffer.allocUnsafe(READ_BYTES);

  constructor(frames: FrameReader) {
    this.#frames = frames;
  }

  /** Whether the file holds what the pieces say in the span from `start` to `end`, and zeros elsewhere in it. */
  matches(fd: number, pieces: readonly Piece[], start: number, end: number): boolean {
    const { blocks, zeros } = groupPieces(pieces);
    if (!blocks.every((block) => this.block(fd, block) !== undefined)) return false;
    if (!zeros.every(({ offset, length }) => this.#hollow(fd, offset, offset + length))) return false;
    let at = start;
    for (const { offset, length } of pieces) {
      if (offset > at && !this.#hollow(fd, at, offset)) return false;
      at = offset + length;
    }
    return at >= end || this.#hollow(fd, at, end);
  }

  /** The block's bytes where the file has them in its places, valid until the next call; else undefined. */
  block(fd: number, { id, length, pieces }: BlockPieces): Buffer | undefined {
    if (length > this.#memory.length) this.#memory = Buffer.allocUnsafe(length);
    for (const piece of pieces) {
      const count = posix.pread(fd, this.#memory, piece.from, piece.length, piece.offset);
      if (count !== piece.length) return undefined;
    }
    const bytes = this.#memory.subarray(0, length);
    return this.#frames.idOf(bytes).equals(id) ? bytes : undefined;
  }

  /** Whether a stretch holds nothing but zeros. */
  #hollow(fd: number, from: number, to: number): boolean {
    for (let at = from; at < to; ) {
      const data = posix.lseek(fd, at, posix.SEEK_DATA);
      if (data === -posix.ENXIO || data >= to) return true;
      if (data >= 0) at = data;
      const count = posix.pread(fd, this.#memory, 0, Math.min(READ_BYTES, to - at), at);
      if (count <= 0 || !isZero(this.#memory.subarray(0, count))) return false;
      at += count;
    }
    return true;
  }
}
