import fc from 'fast-check';
import { expect, it } from 'vitest';
import { crc32c, crc32cText } from './crc32c.ts';

/** Bit by bit, as the standard defines it. */
function slowly(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

it('gives the checksums of RFC 3720, appendix B.4', () => {
  const ascending = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  expect(crc32c([Buffer.alloc(32)])).toBe(0x8a9136aa);
  expect(crc32c([Buffer.alloc(32, 0xff)])).toBe(0x62a8ab43);
  expect(crc32c([ascending])).toBe(0x46dd794e);
  expect(crc32c([Buffer.from(ascending).reverse()])).toBe(0x113fdb5c);
  expect(crc32c([Buffer.from('123456789')])).toBe(0xe3069283);
  expect(crc32c([])).toBe(0);
  expect(crc32cText([Buffer.from('123456789')])).toBe('4waSgw==');
});

it('is the same for any bytes, wherever they lie in memory and however they are cut', () => {
  const cuts = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 });
  fc.assert(
    fc.property(cuts, fc.integer({ min: 0, max: 7 }), (parts, offset) => {
      const moved = parts.map((part) => {
        const there = Buffer.alloc(part.length + offset).subarray(offset);
        there.set(part);
        return there;
      });
      expect(crc32c(moved)).toBe(slowly(Buffer.concat(parts)));
    }),
  );
});
