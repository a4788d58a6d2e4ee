import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { makeToken, parseToken, sameHash } from './tokens.ts';

const ID = '0b6f1c1e-8c57-4f0a-9f0e-3f3d3a1e7c55';

test('a token says who it is; what is kept of it is SHA-256 of its secret', () => {
  const made = makeToken('agent', ID, (size) => Buffer.alloc(size, 0xff));
  expect(made.text).toBe(`tm_agent_${ID}_${'_'.repeat(42)}8`);
  expect(made.hash).toEqual(
    createHash('sha256')
      .update(`${'_'.repeat(42)}8`)
      .digest(),
  );
  expect(parseToken(made.text)).toEqual({ kind: 'agent', id: ID, hash: made.hash });
});

test('no two tokens are the same', () => {
  expect(makeToken('admin', 'a').text).not.toBe(makeToken('admin', 'a').text);
});

test.each([
  '',
  'tm',
  `tm_root_${ID}_${'a'.repeat(43)}`,
  `tm_agent_${ID}_${'a'.repeat(42)}`,
  `tm_agent_${ID}_${'a'.repeat(44)}`,
  `tm_agent__${'a'.repeat(43)}`,
  `tm_agent_a b_${'a'.repeat(43)}`,
  `tm_agent_${'a'.repeat(65)}_${'a'.repeat(43)}`,
  `tm_agent_${ID}_${'a'.repeat(43)}\n`,
])('%j is no token', (text) => {
  expect(parseToken(text)).toBeUndefined();
});

test('hashes are the same only when all of them is', () => {
  const [a, b] = [makeToken('reader', 'a').hash, makeToken('reader', 'a').hash];
  expect(sameHash(a, Buffer.from(a))).toBe(true);
  expect(sameHash(a, b)).toBe(false);
  expect(sameHash(a, a.subarray(1))).toBe(false);
});
