import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';

test('what is written is read back, wherever the memory has to grow', () => {
  const ascii = fc.constantFrom('a', 'Z', '\0', '\x7f');
  const any = fc.constantFrom('a', '\x80', 'ä', '日', '😀', '\ud800');
  const text = fc.oneof(
    fc.array(ascii, { maxLength: 40 }).map((parts) => parts.join('')),
    fc.array(any, { maxLength: 40 }).map((parts) => parts.join('')),
  );
  const number = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  fc.assert(
    fc.property(fc.array(fc.tuple(text, number), { maxLength: 6 }), (pairs) => {
      const out = new ByteWriter(16);
      for (const [value, i64] of pairs) {
        out.text8(value);
        out.i64(i64);
      }
      const input = new ByteReader(out.finish());
      for (const [value, i64] of pairs) {
        expect(input.text8()).toBe(value.toWellFormed());
        expect(input.i64()).toBe(i64);
      }
      input.end();
    }),
    { numRuns: 50 },
  );
});

test('a text over 255 bytes is cut between characters', () => {
  const out = new ByteWriter();
  out.text8('x'.repeat(300));
  out.text8(`x${'ä'.repeat(200)}`);
  out.text8(`${'x'.repeat(31)}ä`);
  const input = new ByteReader(out.finish());
  expect(input.text8()).toBe('x'.repeat(255));
  expect(input.text8()).toBe(`x${'ä'.repeat(127)}`);
  expect(input.text8()).toBe(`${'x'.repeat(31)}ä`);
});
