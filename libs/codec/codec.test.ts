import { createDecipheriv, randomBytes } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { nativeCompressor, zlibCompressor } from './compressor.ts';
import { cryptoGcm, nativeGcm } from './gcm.ts';
import { nodeExports } from './native.ts';

const contents = [
  Buffer.from('x'),
  Buffer.alloc(300_000, 'text that repeats itself, '),
  randomBytes(70_000),
  Buffer.concat([randomBytes(5000), Buffer.alloc(2_000_000)]),
];

test('the pinned Node exports what the native codecs need', () => {
  nativeCompressor(1)!.close();
  nativeGcm(Buffer.alloc(32))!.close();
});

test('native and public zstd give frames that the public API opens, of about the same length', () => {
  const [native, zlib] = [nativeCompressor(1)!, zlibCompressor(1)];
  for (const plain of contents) {
    const lengths = [native, zlib].map((compressor) => {
      const into = Buffer.alloc(plain.length + 1000);
      const packed = into.subarray(0, compressor.compress(plain, into));
      expect(zstdDecompressSync(packed, { maxOutputLength: plain.length }).equals(plain)).toBe(true);
      return packed.length;
    });
    expect(Math.abs(lengths[0]! - lengths[1]!)).toBeLessThan(100);
  }
  native.close();
});

test('what does not fit is 0, and the compressor works on afterwards', () => {
  const plain = Buffer.from(contents[1]!);
  for (const compressor of [nativeCompressor(1)!, zlibCompressor(1)]) {
    expect(compressor.compress(plain, Buffer.alloc(0))).toBe(0);
    expect(compressor.compress(plain, Buffer.alloc(12))).toBe(0);
    expect(compressor.compress(contents[2]!, Buffer.alloc(contents[2]!.length - 1))).toBe(0);
    const into = Buffer.alloc(plain.length);
    const packed = into.subarray(0, compressor.compress(plain, into));
    expect(zstdDecompressSync(packed).equals(plain)).toBe(true);
    compressor.close();
  }
});

test('native and public AES-256-GCM give the same bytes, and they decrypt', () => {
  const key = randomBytes(32);
  const ciphers = [nativeGcm(key)!, cryptoGcm(key)];
  for (const plain of [Buffer.alloc(0), ...contents]) {
    const [nonce, associated] = [randomBytes(12), randomBytes(78)];
    const [native, crypto] = ciphers.map((cipher) => {
      const bytes = Buffer.from(plain);
      const tag = Buffer.alloc(16);
      cipher.encrypt(nonce, associated, bytes, tag);
      return { bytes, tag };
    });
    expect(native).toEqual(crypto);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(associated).setAuthTag(native!.tag);
    expect(Buffer.concat([decipher.update(native!.bytes), decipher.final()]).equals(plain)).toBe(true);
  }
  for (const cipher of ciphers) cipher.close();
});

test('a nonce or tag of another length is refused before memory is touched', () => {
  const cipher = nativeGcm(Buffer.alloc(32))!;
  const bytes = Buffer.alloc(4);
  expect(() => cipher.encrypt(Buffer.alloc(8), bytes, bytes, Buffer.alloc(16))).toThrow();
  expect(() => cipher.encrypt(Buffer.alloc(12), bytes, bytes, Buffer.alloc(12))).toThrow();
  cipher.close();
});

test('a function that Node does not export is told', () => {
  expect(nodeExports({ no_such_function_anywhere: ['int'] })).toBeUndefined();
});
