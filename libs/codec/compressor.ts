import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { TmError } from '../model/errors.ts';
import { nodeExports } from './native.ts';

/** zstd at one level. Not for two threads at once. */
export interface Compressor {
  /** Writes one zstd frame to `into`; its length, or 0 where it does not fit (then `into` holds anything). */
  compress(plain: Uint8Array, into: Uint8Array): number;
  /** Frees native memory, which no garbage collection does. */
  close(): void;
}

// Numbers of zstd.h (ZSTD_cParameter, ZSTD_ErrorCode), fixed since 1.4.
const COMPRESSION_LEVEL = 100;
const DST_TOO_SMALL = 70;

/** Errors come as negative numbers of a size_t, so as int64_t they are negative. */
const zstd = () =>
  nodeExports({
    ZSTD_createCCtx: ['void *'],
    ZSTD_freeCCtx: ['int64_t', 'void *'],
    ZSTD_CCtx_setParameter: ['int64_t', 'void *', 'int', 'int'],
    ZSTD_compress2: ['int64_t', 'void *', 'uint8_t *', 'uint64_t', 'uint8_t *', 'uint64_t'],
  });

/** Through Node's exported zstd, with one context that is kept; undefined where that does not work. */
export function nativeCompressor(level: number): Compressor | undefined {
  const lib = zstd();
  const context: unknown = lib?.ZSTD_createCCtx();
  if (!lib || !context) return undefined;
  lib.ZSTD_CCtx_setParameter(context, COMPRESSION_LEVEL, level);
  const compressor: Compressor = {
    compress(plain, into) {
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
export const zlibCompressor = (level: number): Compressor => ({
  compress(plain, into) {
    const packed = zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: level } });
    if (packed.length > into.length) return 0;
    into.set(packed);
    return packed.length;
  },
  close: () => {},
});

export const openCompressor = (level: number): Compressor => nativeCompressor(level) ?? zlibCompressor(level);

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
