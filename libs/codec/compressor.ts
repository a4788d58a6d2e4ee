import { promisify } from 'node:util';
import { zstdCompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Compression } from '../model/compression.ts';
import { TmError } from '../model/errors.ts';
import { type Native, nodeExports } from './native.ts';

/** zstd with one tuning. Not for two threads at once. */
export interface Compressor {
  /** Writes one zstd frame to `into`; its length, or 0 where it does not fit (then `into` holds anything). */
  compress(plain: Uint8Array, into: Uint8Array): number;
  /** As `compress`, on another thread: both have to stay as they are until it resolves. Several may be under way. */
  compressAside(plain: Uint8Array, into: Uint8Array): Promise<number>;
  /** Frees native memory, which no garbage collection does. */
  close(): void;
}

// Numbers of zstd.h (ZSTD_cParameter, ZSTD_ErrorCode), fixed since 1.4.
const PARAMETERS = {
  level: 100,
  windowLog: 101,
  hashLog: 102,
  chainLog: 103,
  searchLog: 104,
  minMatch: 105,
} as const;
const DST_TOO_SMALL = 70;

/** What is over a frame's usual measure is a piece of a large file. */
const LARGE_BYTES = 1024 * 1024;

/** Parameters of zstd; what is not named is as the level has it. The window reaches over a whole frame. */
type Parameters = Readonly<Partial<Record<keyof typeof PARAMETERS, number>>>;

interface Tuning {
  /** For what is up to a frame's usual measure: small files, mostly several. */
  readonly usual: Parameters;
  readonly large: Parameters;
}

/**
 * What costs least for what it saves, on many small files and on pieces of large ones (measured: docs/benchmarks.md,
 * "Write side").
 */
export const TUNINGS: Readonly<Record<Exclude<Compression, 'off'>, Tuning>> = {
  fast: { usual: { level: 1, windowLog: 20 }, large: { level: 1, windowLog: 20, minMatch: 6 } },
  better: {
    usual: { level: 5, windowLog: 20, searchLog: 2 },
    large: { level: 3, windowLog: 22, hashLog: 17, chainLog: 17 },
  },
};

/** Numbers and values of all parameters, so that those of the last call are gone; 0: as the level has it. */
const numbered = (parameters: Parameters): [number, number][] =>
  Object.entries(PARAMETERS).map(([name, number]) => [number, parameters[name as keyof Parameters] ?? 0]);

const parametersFor = ({ usual, large }: Tuning, bytes: number): Parameters =>
  bytes > LARGE_BYTES ? large : usual;

/** Errors come as negative numbers of a size_t, so as int64_t they are negative. */
const zstd = () =>
  nodeExports({
    ZSTD_createCCtx: ['void *'],
    ZSTD_freeCCtx: ['int64_t', 'void *'],
    ZSTD_CCtx_setParameter: ['int64_t', 'void *', 'int', 'int'],
    ZSTD_compress2: ['int64_t', 'void *', 'uint8_t *', 'uint64_t', 'uint8_t *', 'uint64_t'],
  });

/** Room for one call, and the parameters that it has. */
interface Context {
  readonly at: unknown;
  parameters: Parameters | undefined;
}

function lengthOf(result: number): number {
  if (result < 0 && result !== -DST_TOO_SMALL) throw new TmError('TM1099', `zstd error ${-result}`);
  return Math.max(0, result);
}

/** Through Node's exported zstd, with contexts that are kept: one for each call that is under way at once. */
class NativeCompressor implements Compressor {
  readonly #lib: NonNullable<ReturnType<typeof zstd>>;
  readonly #tuning: Tuning;
  readonly #idle: Context[] = [];
  #isClosed = false;

  constructor(lib: NonNullable<ReturnType<typeof zstd>>, tuning: Tuning) {
    this.#lib = lib;
    this.#tuning = tuning;
  }

  #take(bytes: number): Context {
    const context = this.#idle.pop() ?? { at: this.#lib.ZSTD_createCCtx(), parameters: undefined };
    if (!context.at) throw new TmError('TM1011', 'zstd has no memory');
    const wanted = parametersFor(this.#tuning, bytes);
    if (wanted !== context.parameters)
      for (const [number, value] of numbered(wanted))
        this.#lib.ZSTD_CCtx_setParameter(context.at, number, value);
    context.parameters = wanted;
    return context;
  }

  #giveBack(context: Context): void {
    if (this.#isClosed) this.#lib.ZSTD_freeCCtx(context.at);
    else this.#idle.push(context);
  }

  compress(plain: Uint8Array, into: Uint8Array): number {
    const context = this.#take(plain.length);
    const length = this.#lib.ZSTD_compress2(context.at, into, into.length, plain, plain.length);
    this.#giveBack(context);
    return lengthOf(length);
  }

  async compressAside(plain: Uint8Array, into: Uint8Array): Promise<number> {
    const context = this.#take(plain.length);
    try {
      return lengthOf(
        await aside(this.#lib.ZSTD_compress2, context.at, into, into.length, plain, plain.length),
      );
    } finally {
      this.#giveBack(context);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const context of this.#idle.splice(0)) this.#lib.ZSTD_freeCCtx(context.at);
  }
}

const aside = (native: Native, ...args: unknown[]): Promise<number> =>
  new Promise((resolve, reject) =>
    native.async(...args, (error: unknown, result: number) => (error ? reject(error) : resolve(result))),
  );

/** Undefined where Node does not export what it takes, or what that makes is wrong. */
export function nativeCompressor(tuning: Tuning): Compressor | undefined {
  const lib = zstd();
  if (!lib) return undefined;
  const compressor = new NativeCompressor(lib, tuning);
  if (isRight(compressor)) return compressor;
  compressor.close();
  return undefined;
}

/** Through node:zlib, which makes a context for each call. */
export function zlibCompressor(tuning: Tuning): Compressor {
  const optionsFor = ({ length }: Uint8Array) => ({
    params: Object.fromEntries(numbered(parametersFor(tuning, length))),
  });
  const put = (packed: Buffer, into: Uint8Array): number => {
    if (packed.length > into.length) return 0;
    into.set(packed);
    return packed.length;
  };
  return {
    compress: (plain, into) => put(zstdCompressSync(plain, optionsFor(plain)), into),
    compressAside: async (plain, into) => put(await compressInPool(plain, optionsFor(plain)), into),
    close: () => {},
  };
}

const compressInPool = promisify(zstdCompress);

/** Nothing shrinks. */
const noCompressor: Compressor = { compress: () => 0, compressAside: async () => 0, close: () => {} };

export function openCompressor(compression: Compression): Compressor {
  if (compression === 'off') return noCompressor;
  const tuning = TUNINGS[compression];
  return nativeCompressor(tuning) ?? zlibCompressor(tuning);
}

function isRight(compressor: Compressor): boolean {
  const plain = Buffer.alloc(4096, 'self-test ');
  const into = Buffer.alloc(4096);
  try {
    const packed = into.subarray(0, compressor.compress(plain, into));
    return zstdDecompressSync(packed).equals(plain) && compressor.compress(plain, into.subarray(0, 4)) === 0;
  } catch {
    return false;
  }
}
