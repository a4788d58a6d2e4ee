import { createDecipheriv, randomBytes } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { nativeCompressor, openCompressor, TUNINGS, zlibCompressor } from './compressor.ts';
import { cryptoGcm, nativeGcm } from './gcm.ts';
import { cryptoGcmDecrypt, nativeGcmDecrypt } from './gcm-decrypt.ts';
import { nodeExports } from './native.ts';

const contents = [
  Buffer.from('x'),
  Buffer.alloc(300_000, 'text that repeats itself, '),
  randomBytes(70_000),
  Buffer.concat([randomBytes(5000), Buffer.alloc(2_000_000)]),
];

test('the pinned Node exports what the native codecs need', () => {
  nativeCompressor(TUNINGS.fast)!.close();
  nativeGcm(Buffer.alloc(32))!.close();
  expect(nativeGcmDecrypt()).toBeDefined();
});

test.each(['fast', 'better'] as const)(
  '%s: native and public zstd give frames of about the same length that the public API opens',
  (name) => {
    const [native, zlib] = [nativeCompressor(TUNINGS[name])!, zlibCompressor(TUNINGS[name])];
    for (const plain of [...contents, contents[0]!]) {
      const lengths = [native, zlib].map((compressor) => {
        const into = Buffer.alloc(plain.length + 1000);
        const packed = into.subarray(0, compressor.compress(plain, into));
        expect(zstdDecompressSync(packed, { maxOutputLength: plain.length }).equals(plain)).toBe(true);
        return packed.length;
      });
      expect(Math.abs(lengths[0]! - lengths[1]!)).toBeLessThan(100);
    }
    native.close();
  },
);

/** Words in no order: what a better compression has more to find in. */
function words(bytes: number): Buffer {
  const known = Array.from({ length: 3000 }, (_, i) => ((i * 2654435761) >>> 0).toString(36));
  let seed = 1;
  let text = '';
  while (text.length < bytes) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    text += `${known[(seed >>> 8) % known.length]} `;
  }
  return Buffer.from(text);
}

test.each([700_000, 3_000_000])(
  'better makes less of %d bytes than fast, off leaves them as they are',
  (bytes) => {
    const plain = words(bytes);
    const into = Buffer.alloc(plain.length);
    const [off, fast, better] = (['off', 'fast', 'better'] as const).map((compression) => {
      const compressor = openCompressor(compression);
      const length = compressor.compress(plain, into);
      compressor.close();
      return length;
    });
    expect(off).toBe(0);
    expect(better).toBeLessThan(fast! * 0.99);
  },
);

test('what does not fit is 0, and the compressor works on afterwards', () => {
  const plain = Buffer.from(contents[1]!);
  for (const compressor of [nativeCompressor(TUNINGS.fast)!, zlibCompressor(TUNINGS.fast)]) {
    expect(compressor.compress(plain, Buffer.alloc(0))).toBe(0);
    expect(compressor.compress(plain, Buffer.alloc(12))).toBe(0);
    expect(compressor.compress(contents[2]!, Buffer.alloc(contents[2]!.length - 1))).toBe(0);
    const into = Buffer.alloc(plain.length);
    const packed = into.subarray(0, compressor.compress(plain, into));
    expect(zstdDecompressSync(packed).equals(plain)).toBe(true);
    compressor.close();
  }
});

test('what is compressed aside opens, also of several at once, and is 0 where it does not fit', async () => {
  for (const compressor of [nativeCompressor(TUNINGS.fast)!, zlibCompressor(TUNINGS.fast)]) {
    const packed = await Promise.all(
      contents.map(async (plain) => {
        const into = Buffer.alloc(plain.length + 1000);
        return into.subarray(0, await compressor.compressAside(plain, into));
      }),
    );
    contents.forEach((plain, i) => {
      expect(zstdDecompressSync(packed[i]!, { maxOutputLength: plain.length }).equals(plain)).toBe(true);
    });
    expect(await compressor.compressAside(contents[1]!, Buffer.alloc(12))).toBe(0);
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

test('native and public decryption give back the same bytes, and false for what is altered or under another key', () => {
  const [key, nonce, associated] = [randomBytes(32), randomBytes(12), randomBytes(78)];
  for (const decrypt of [nativeGcmDecrypt()!, cryptoGcmDecrypt]) {
    for (const plain of [Buffer.alloc(0), ...contents]) {
      const sealed = { nonce, associated, bytes: Buffer.from(plain), tag: Buffer.alloc(16) };
      cryptoGcm(key).encrypt(nonce, associated, sealed.bytes, sealed.tag);
      const into = Buffer.alloc(plain.length);
      expect(decrypt(key, sealed, into)).toBe(true);
      expect(into.equals(plain)).toBe(true);
      expect(decrypt(randomBytes(32), sealed, into)).toBe(false);
      for (const part of ['nonce', 'associated', 'bytes', 'tag'] as const) {
        const bytes = Buffer.from(sealed[part]);
        if (bytes.length === 0) continue;
        bytes[bytes.length - 1]! ^= 1;
        expect(decrypt(key, { ...sealed, [part]: bytes }, into), part).toBe(false);
      }
      expect(decrypt(key, sealed, into)).toBe(true);
    }
  }
});

test('a key, nonce, tag or room of another length is refused before memory is touched', () => {
  const sealed = {
    nonce: Buffer.alloc(12),
    associated: Buffer.alloc(3),
    bytes: Buffer.alloc(4),
    tag: Buffer.alloc(16),
  };
  for (const decrypt of [nativeGcmDecrypt()!, cryptoGcmDecrypt]) {
    expect(() => decrypt(Buffer.alloc(16), sealed, Buffer.alloc(4))).toThrow();
    expect(() => decrypt(Buffer.alloc(32), { ...sealed, nonce: Buffer.alloc(8) }, Buffer.alloc(4))).toThrow();
    expect(() => decrypt(Buffer.alloc(32), { ...sealed, tag: Buffer.alloc(12) }, Buffer.alloc(4))).toThrow();
    expect(() => decrypt(Buffer.alloc(32), sealed, Buffer.alloc(3))).toThrow();
  }
});

test('a function that Node does not export is told', () => {
  expect(nodeExports({ no_such_function_anywhere: ['int'] })).toBeUndefined();
});
