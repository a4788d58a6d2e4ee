import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { nativeDecompressor, zlibDecompressor } from './decompressor.ts';

test('native and public zstd give the same plaintext, and -1 for what is damaged, cut or too long', () => {
  for (const decompress of [nativeDecompressor()!, zlibDecompressor]) {
    for (const plain of [
      Buffer.from('x'),
      Buffer.alloc(1_000_000, 'text that repeats '),
      randomBytes(70_000),
    ]) {
      const packed = zstdCompressSync(plain);
      const into = Buffer.alloc(plain.length);
      expect(decompress(packed, into)).toBe(plain.length);
      expect(into.equals(plain)).toBe(true);
      expect(decompress(packed, Buffer.alloc(plain.length - 1))).toBe(-1);
      expect(decompress(packed.subarray(0, -1), into)).toBe(-1);
      expect(decompress(randomBytes(100), into)).toBe(-1);
      expect(decompress(packed, into)).toBe(plain.length);
    }
  }
});
