import { blake3, KeyedHasher } from '../model/digests.ts';
import { type GearScan, wasmGearScan } from './gear-scan.ts';

/** Sizes in bytes; part of a domain's record. */
export interface ChunkParams {
  readonly min: number;
  readonly avg: number;
  readonly max: number;
}

const CHUNK_PARAMS: ChunkParams = { min: 256 * 1024, avg: 1024 * 1024, max: 4 * 1024 * 1024 };

/** Memory of a chunker: room for a block of the largest size and for what is read behind it. */
const MEMORY_BYTES = 6 * 1024 * 1024;

/**
 * FastCDC (Xia et al., USENIX ATC 2016) with normalized chunking of level 2, on 32-bit fingerprints: below the average
 * size two more bits have to be zero, above it two fewer. The gear table comes from the domain's secret, so that block
 * sizes tell nothing about the content to who lacks it. `buffer` is where files are read into: bytes that lie there are
 * scanned by WebAssembly, others by JavaScript, with the same cuts.
 */
export class Chunker {
  readonly buffer: Buffer;
  readonly #gear: Int32Array;
  readonly #native: GearScan | undefined;
  readonly #params: ChunkParams;
  readonly #maskBelow: number;
  readonly #maskAbove: number;
  /** Of the block that is being looked at: bytes seen without a cut, and the fingerprint there. */
  #scanned = 0;
  #print = 0;

  constructor(gearSeed: Buffer, params: ChunkParams = CHUNK_PARAMS, memoryBytes = MEMORY_BYTES) {
    this.#gear = gearTable(gearSeed);
    this.#native = wasmGearScan(this.#gear, memoryBytes);
    this.buffer = this.#native?.buffer ?? Buffer.from(new ArrayBuffer(memoryBytes));
    this.#params = params;
    const bits = Math.round(Math.log2(params.avg));
    this.#maskBelow = topBits(bits + 2);
    this.#maskAbove = topBits(bits - 2);
  }

  /** Whether what lies in `buffer` is scanned by WebAssembly. */
  get isNative(): boolean {
    return this.#native !== undefined;
  }

  /** Bytes that make one block, whatever they are: nothing has to be looked for in them. */
  get wholeUpTo(): number {
    return this.#params.min;
  }

  /**
   * End of the block that begins at `start`, from the bytes up to `end`. 0: more bytes are needed, unless they are
   * `final`; the next call is about the same block then, and goes on where this one stopped. Depends on the bytes only,
   * not on how they came.
   */
  cut(bytes: Buffer, start: number, end: number, final: boolean): number {
    const { min, avg, max } = this.#params;
    const available = end - start;
    if (available <= min) return final ? end : 0;
    const limit = start + Math.min(available, max);
    const middle = Math.min(start + avg, limit);
    let cut = this.#scan(bytes, start + Math.max(min, this.#scanned), middle, this.#maskBelow);
    if (cut === 0) cut = this.#scan(bytes, Math.max(middle, start + this.#scanned), limit, this.#maskAbove);
    if (cut === 0 && (available >= max || final)) cut = limit;
    this.#scanned = cut === 0 ? limit - start : 0;
    if (cut > 0) this.#print = 0;
    return cut;
  }

  /** The block that was looked at will not be continued. */
  forget(): void {
    this.#scanned = 0;
    this.#print = 0;
  }

  #scan(bytes: Buffer, from: number, to: number, mask: number): number {
    if (from >= to) return 0;
    if (this.#native && bytes === this.buffer) return this.#scanMemory(this.#native, from, to, mask);
    const gear = this.#gear;
    let print = this.#print;
    for (let at = from; at < to; at++) {
      print = ((print << 1) + gear[bytes[at]!]!) | 0;
      if ((print & mask) === 0) return at + 1;
    }
    this.#print = print;
    return 0;
  }

  #scanMemory(native: GearScan, from: number, to: number, mask: number): number {
    native.print = this.#print;
    const cut = native.scan(from, to, mask);
    this.#print = native.print;
    return cut;
  }
}

/** The highest bits depend on the most bytes before. */
const topBits = (bits: number): number => (bits >= 32 ? -1 : ~(-1 >>> bits)) | 0;

function gearTable(seed: Buffer): Int32Array {
  const table = new Int32Array(256);
  const hasher = new KeyedHasher(blake3(Buffer.from('tidemark gear v1'), seed));
  for (let i = 0; i < 256; i++) table[i] = hasher.digest(Buffer.from([i])).readInt32LE(0);
  return table;
}
