import { blake3, KeyedHasher } from '../model/digests.ts';

/** Sizes in bytes; part of a domain's record. */
export interface ChunkParams {
  readonly min: number;
  readonly avg: number;
  readonly max: number;
}

const CHUNK_PARAMS: ChunkParams = { min: 256 * 1024, avg: 1024 * 1024, max: 4 * 1024 * 1024 };

/** Memory of a chunker: room for a block of the largest size and for what is read behind it. */
const MEMORY_BYTES = 10 * 1024 * 1024;

/**
 * FastCDC (Xia et al., USENIX ATC 2016) with normalized chunking of level 2, on 32-bit fingerprints: below the average
 * size two more bits have to be zero, above it two fewer. The gear table comes from the domain's secret, so that block
 * sizes tell nothing about the content to who lacks it. `buffer` is where files are read into.
 */
export class Chunker {
  readonly buffer: Buffer;
  readonly #gear: Uint32Array;
  readonly #params: ChunkParams;
  readonly #maskBelow: number;
  readonly #maskAbove: number;

  constructor(gearSeed: Buffer, params: ChunkParams = CHUNK_PARAMS, memoryBytes = MEMORY_BYTES) {
    this.buffer = Buffer.from(new ArrayBuffer(memoryBytes));
    this.#gear = gearTable(gearSeed);
    this.#params = params;
    const bits = Math.round(Math.log2(params.avg));
    this.#maskBelow = topBits(bits + 2);
    this.#maskAbove = topBits(bits - 2);
  }

  /**
   * End of the block that begins at `start`, from the bytes up to `end`. 0: more bytes are needed, unless they are
   * `final`. Depends on the bytes only, not on how they came.
   */
  cut(bytes: Buffer, start: number, end: number, final: boolean): number {
    const { min, avg, max } = this.#params;
    const available = end - start;
    if (available <= min) return final ? end : 0;
    const limit = start + Math.min(available, max);
    const middle = Math.min(start + avg, limit);
    const gear = this.#gear;
    let print = 0;
    let at = start + min;
    for (const mask = this.#maskBelow; at < middle; at++) {
      print = ((print << 1) + gear[bytes[at]!]!) | 0;
      if ((print & mask) === 0) return at + 1;
    }
    for (const mask = this.#maskAbove; at < limit; at++) {
      print = ((print << 1) + gear[bytes[at]!]!) | 0;
      if ((print & mask) === 0) return at + 1;
    }
    return available >= max || final ? limit : 0;
  }
}

/** The highest bits depend on the most bytes before. */
const topBits = (bits: number): number => (bits >= 32 ? -1 : ~(-1 >>> bits)) | 0;

function gearTable(seed: Buffer): Uint32Array {
  const table = new Uint32Array(256);
  const hasher = new KeyedHasher(blake3(Buffer.from('tidemark gear v1'), seed));
  for (let i = 0; i < 256; i++) table[i] = hasher.digest(Buffer.from([i])).readUInt32LE(0);
  return table;
}
