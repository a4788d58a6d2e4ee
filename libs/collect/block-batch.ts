import type { FrameSealer } from '../blocks/frame.ts';
import { type BlockKind, type FrameBlock, BlockKind as Kind, type SealedFrame } from '../blocks/intake.ts';
import type { KeyedHasher } from '../model/digests.ts';

/** Plaintext that small blocks share a frame up to. */
const FRAME_BYTES = 1024 * 1024;
const NONE = Buffer.alloc(0);

interface Held extends FrameBlock {
  readonly bytes: Buffer;
}

/**
 * Asks which blocks are missing and hands over the frames of those; both wait while the other side is behind. The
 * buffers are the sink's from then on.
 */
export interface BlockSink {
  /** `bytes`: content of the blocks, so that progress can be told within a large file. */
  missing(ids: Buffer, bytes: number): Promise<Uint8Array>;
  frames(frames: readonly SealedFrame[]): Promise<void>;
}

/**
 * Blocks found but not yet asked for. They are views of the lane's memory, which must not be written over until
 * `flush` has resolved.
 */
export class BlockBatch {
  readonly #sink: BlockSink;
  readonly #sealer: FrameSealer;
  readonly #ids: KeyedHasher;
  #held: Held[] = [];

  constructor(sink: BlockSink, sealer: FrameSealer, ids: KeyedHasher) {
    this.#sink = sink;
    this.#sealer = sealer;
    this.#ids = ids;
  }

  add(bytes: Buffer, kind: BlockKind = Kind.data, children: Buffer = NONE): Buffer {
    const id = this.#ids.digest(bytes);
    this.#held.push({ id, length: bytes.length, kind, children, bytes });
    return id;
  }

  async flush(): Promise<void> {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    const bytes = held.reduce((sum, { length }) => sum + length, 0);
    const missing = await this.#sink.missing(idsOf(held), bytes);
    const wanted = new Map<string, Held>();
    held.forEach((block, i) => {
      if (missing[i]) wanted.set(block.id.toString('latin1'), block);
    });
    if (wanted.size === 0) return;
    await this.#sink.frames(await this.#seal([...wanted.values()]));
  }

  /** Neighbours share a frame; a block over a frame's measure has one of its own. */
  async #seal(blocks: readonly Held[]): Promise<SealedFrame[]> {
    const frames: SealedFrame[] = [];
    let group: Held[] = [];
    let bytes = 0;
    const close = async () => {
      if (group.length > 0) frames.push(await this.#sealer.sealAside(group));
      group = [];
      bytes = 0;
    };
    for (const block of blocks) {
      if (bytes + block.length > FRAME_BYTES) await close();
      group.push(block);
      bytes += block.length;
    }
    await close();
    return frames;
  }
}

/** In memory of their own, which may be moved to another thread. */
function idsOf(blocks: readonly FrameBlock[]): Buffer {
  const ids = Buffer.from(new ArrayBuffer(blocks.length * 32));
  blocks.forEach((block, i) => {
    block.id.copy(ids, i * 32);
  });
  return ids;
}
