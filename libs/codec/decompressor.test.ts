import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
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

test('the beginning of a frame is opened alone, no further than it has to be', () => {
  const text = Buffer.from(Array.from({ length: 300_000 }, (_, i) => `line ${i * 7919}\n`).join(''));
  const plains = [Buffer.from('x'), text.subarray(0, 1_000_000), randomBytes(700_000), Buffer.alloc(500_000)];
  const native = nativeDecompressor()!;
  fc.assert(
    fc.property(fc.constantFrom(...plains), fc.double({ min: 0, max: 1, noNaN: true }), (plain, part) => {
      const packed = zstdCompressSync(plain);
      const wanted = Math.floor(part * plain.length);
      for (const decompress of [native, zlibDecompressor]) {
        const into = Buffer.alloc(plain.length);
        const length = decompress(packed, into, wanted);
        expect(length).toBeGreaterThanOrEqual(wanted);
        expect(into.subarray(0, length).equals(plain.subarray(0, length))).toBe(true);
      }
      const length = native(packed, Buffer.alloc(plain.length), wanted);
      expect(length).toBeLessThanOrEqual(Math.min(plain.length, wanted + 128 * 1024));
      expect(native(packed, Buffer.alloc(plain.length))).toBe(plain.length);
    }),
    { numRuns: 40 },
  );
});

test('a beginning that is damaged, cut or too long for its room gives -1', () => {
  const native = nativeDecompressor()!;
  const plain = randomBytes(600_000);
  const packed = zstdCompressSync(plain);
  const into = Buffer.alloc(plain.length);
  expect(native(packed.subarray(0, 200_000), into, 400_000)).toBe(-1);
  expect(native(randomBytes(100_000), into, 50_000)).toBe(-1);
  expect(native(packed, Buffer.alloc(100_000), 50_000)).toBe(-1);
  expect(native(packed, into, 50_000)).toBeGreaterThanOrEqual(50_000);
});
