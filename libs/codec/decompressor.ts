import { zstdDecompressSync } from 'node:zlib';
import { nodeExports } from './native.ts';

const zstd = () =>
  nodeExports({
    ZSTD_createDCtx: ['void *'],
    ZSTD_decompressDCtx: ['int64_t', 'void *', 'uint8_t *', 'uint64_t', 'uint8_t *', 'uint64_t'],
    ZSTD_decompressBegin: ['int64_t', 'void *'],
    ZSTD_nextSrcSizeToDecompress: ['int64_t', 'void *'],
    ZSTD_decompressContinue: ['int64_t', 'void *', 'uint8_t *', 'uint64_t', 'uint8_t *', 'uint64_t'],
  });

/**
 * Opens one zstd frame into `into`: its length, or -1 for what is damaged or does not fit. It may stop once `wanted` bytes
 * are there, and says how many there are then. Not for two threads at once.
 */
export type Decompress = (packed: Uint8Array, into: Uint8Array, wanted?: number) => number;

/** Through Node's exported zstd, with one context that is kept as long as the thread; undefined where that does not work. */
export function nativeDecompressor(): Decompress | undefined {
  const lib = zstd();
  const context: unknown = lib?.ZSTD_createDCtx();
  if (!lib || !context) return undefined;
  const whole: Decompress = (packed, into) => {
    const length = lib.ZSTD_decompressDCtx(context, into, into.length, packed, packed.length);
    return length >= 0 && length <= into.length ? length : -1;
  };
  /** Piece by piece: zstd's own blocks, each of 128 KiB at most. */
  const beginning = (packed: Uint8Array, into: Uint8Array, wanted: number): number => {
    lib.ZSTD_decompressBegin(context);
    let length = 0;
    for (let at = 0; length < wanted; ) {
      const next = lib.ZSTD_nextSrcSizeToDecompress(context);
      if (next === 0) break;
      if (next < 0 || next > packed.length - at) return -1;
      const room = into.subarray(length);
      const piece = packed.subarray(at, at + next);
      const made = lib.ZSTD_decompressContinue(context, room, room.length, piece, next);
      if (made < 0 || made > room.length) return -1;
      length += made;
      at += next;
    }
    return length;
  };
  return (packed, into, wanted = into.length) =>
    wanted < into.length ? beginning(packed, into, wanted) : whole(packed, into);
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
export const decompress: Decompress = (packed, into, wanted) => {
  own ??= nativeDecompressor() ?? zlibDecompressor;
  return own(packed, into, wanted);
};
