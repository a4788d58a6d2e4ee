import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromText, toText } from './byte-text.ts';

test('any bytes come back from their text', () => {
  const mixed = fc
    .array(
      fc.oneof(
        fc.uint8Array({ maxLength: 3 }),
        fc.string({ unit: 'grapheme' }).map((s) => Buffer.from(s)),
      ),
    )
    .map((parts) => Buffer.concat(parts));
  fc.assert(fc.property(mixed, (bytes) => fromText(toText(bytes)).equals(bytes)));
});

test('text that is UTF-8 is itself, other bytes are marked', () => {
  expect(toText(Buffer.from('größe 🌊'))).toBe('größe 🌊');
  expect(fromText('größe 🌊')).toEqual(Buffer.from('größe 🌊'));
  expect(toText(Buffer.from([0x61, 0xff, 0xed, 0xb2, 0x80]))).toBe('a\udcff\udced\udcb2\udc80');
});
