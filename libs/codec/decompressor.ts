import { zstdDecompressSync } from 'node:zlib';
import { nodeExports } from './native.ts';

const zstd = () =>
  nodeExports({
    ZSTD_createDCtx: ['void *'],
    ZSTD_decompressDCtx: ['int64_t', 'void *', 'uint8_t *', 'uint64_t', 'uint8_t *', 'uint64_t'],
  });

/** Opens one zstd frame into `into`: its length, or -1 for what is damaged or does not fit. Not for two threads at once. */
export type Decompress = (packed: Uint8Array, into: Uint8Array) => number;

/** Through Node's exported zstd, with one context that is kept as long as the thread; undefined where that does not work. */
export function nativeDecompressor(): Decompress | undefined {
  const lib = zstd();
  const context: unknown = lib?.ZSTD_createDCtx();
  if (!lib || !context) return undefined;
  return (packed, into) => {
    const length = lib.ZSTD_decompressDCtx(context, into, into.length, packed, packed.length);
    return length >= 0 && length <= into.length ? length : -1;
  };
}

/** Through node:zlib, which makes a context and memory for each call. */
export const zlibDecompressor: Decompress = (packed, into) => {
  try {
    const plain = zstdDecompressSync(packed, { maxOutputLength: Math.max(1, into.length) });
    into.set(plain);
    return plain.length;
  } catch {
    return -1;
  }
};

let own: Decompress | undefined;

/** The thread's own, made when it is needed. */
export const decompress: Decompress = (packed, into) => {
  own ??= nativeDecompressor() ?? zlibDecompressor;
  return own(packed, into);
};
