/** Kinds of blocks; the numbers are part of the pack's index. */
export const BlockKind = { data: 0, recipe: 1, holes: 2, run: 3 } as const;
export type BlockKind = (typeof BlockKind)[keyof typeof BlockKind];

/** One block within a frame, in the order of the frame's plaintext. */
export interface FrameBlock {
  readonly id: Buffer;
  readonly length: number;
  readonly kind: BlockKind;
  /** Of recipe blocks: ids of the blocks they name, 32 bytes each; else empty. */
  readonly children: Buffer;
}

/** A finished frame: header and ciphertext as they stand in a pack (docs/2-formats-blocks.md), and what is inside. */
export interface SealedFrame {
  readonly bytes: Buffer;
  /** First 16 bytes of their BLAKE3. */
  readonly checksum: Buffer;
  readonly plainLength: number;
  /** Id (16 bytes) of the data key. */
  readonly keyId: Buffer;
  /** The blocks inside as a pack's index has them (frame-blocks.ts): thousands of objects less between threads. */
  readonly index: Buffer;
}

/** Where a block lies. */
export interface BlockLocation {
  /** Pack id, 32 bytes. */
  readonly pack: Buffer;
  /** The frame's header begins here; `frameLength` counts header, ciphertext and tag. */
  readonly frameOffset: number;
  readonly frameLength: number;
  /** Offset and length of the block in the frame's plaintext. */
  readonly offset: number;
  readonly length: number;
}

/** Where blocks go: the storage writer, in this process or over HTTP. */
export interface BlockIntake {
  /** `ids`: n × 32 bytes. Gives n bytes, 1 where the block is not in the domain and has to be put. */
  missing(ids: Buffer): Promise<Uint8Array>;
  /**
   * Takes frames, in order. `accepted` resolves when more may be put (back-pressure), `durable` when the frames'
   * pack is durable and its block rows are committed; only then may a change event name their blocks. The frames'
   * bytes are the intake's from now on: it frees their memory.
   */
  put(frames: readonly SealedFrame[]): { accepted: Promise<void>; durable: Promise<void> };
  /** Makes all that was put durable without waiting for a pack to fill. */
  flush(): Promise<void>;
}
