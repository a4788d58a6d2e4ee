import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Compression } from '../model/compression.ts';
import { TmError } from '../model/errors.ts';
import { nodeExports } from './native.ts';

/** zstd with one tuning. Not for two threads at once. */
export interface Compressor {
  /** Writes one zstd frame to `into`; its length, or 0 where it does not fit (then `into` holds anything). */
  compress(plain: Uint8Array, into: Uint8Array): number;
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

/** Through Node's exported zstd, with one context that is kept; undefined where that does not work. */
export function nativeCompressor(tuning: Tuning): Compressor | undefined {
  const lib = zstd();
  const context: unknown = lib?.ZSTD_createCCtx();
  if (!lib || !context) return undefined;
  let present: Parameters | undefined;
  const compressor: Compressor = {
    compress(plain, into) {
      const wanted = parametersFor(tuning, plain.length);
      if (wanted !== present) {
        for (const [number, value] of numbered(wanted)) lib.ZSTD_CCtx_setParameter(context, number, value);
        present = wanted;
      }
      const length = lib.ZSTD_compress2(context, into, into.length, plain, plain.length);
      if (length < 0 && length !== -DST_TOO_SMALL) throw new TmError('TM1099', `zstd error ${-length}`);
      return Math.max(0, length);
    },
    close: () => {
      lib.ZSTD_freeCCtx(context);
    },
  };
  if (isRight(compressor)) return compressor;
  compressor.close();
  return undefined;
}

/** Through node:zlib, which makes a context for each call. */
export const zlibCompressor = (tuning: Tuning): Compressor => ({
  compress(plain, into) {
    const params = Object.fromEntries(numbered(parametersFor(tuning, plain.length)));
    const packed = zstdCompressSync(plain, { params });
    if (packed.length > into.length) return 0;
    into.set(packed);
    return packed.length;
  },
  close: () => {},
});

/** Nothing shrinks. */
const noCompressor: Compressor = { compress: () => 0, close: () => {} };

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
