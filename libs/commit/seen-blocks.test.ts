import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeenBlocks } from './seen-blocks.ts';

/** Many begin alike, so that they meet in one place. */
const anyId = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 40 }))
  .map(([first, last]) => {
    const id = Buffer.alloc(32);
    id.writeUInt32LE(first * 0x4000_0001);
    id[31] = last;
    return id;
  });

test('what was added is there and nothing else, until the limit is reached', () => {
  fc.assert(
    fc.property(fc.array(anyId, { maxLength: 120 }), fc.array(anyId), (added, asked) => {
      const seen = new SeenBlocks(2048);
      for (const id of added) seen.add(id);
      const there = new Set(added.map((id) => id.toString('hex')));
      for (const id of [...added, ...asked]) expect(seen.has(id)).toBe(there.has(id.toString('hex')));
      expect(seen.complete).toBe(true);
    }),
  );
});

test('ids are taken from the middle of a buffer, and from as many as the limit allows', () => {
  const seen = new SeenBlocks(5000);
  const ids = Buffer.alloc(32 * 5001 + 3);
  for (let i = 0; i <= 5000; i++) ids.writeUInt32LE(i * 7919, 3 + i * 32);
  for (let i = 0; i < 5000; i++) seen.add(ids, 3 + i * 32);
  for (let i = 0; i <= 5000; i++) expect(seen.has(ids, 3 + i * 32)).toBe(i < 5000);
  expect(seen.complete).toBe(true);
});

test('over the limit it forgets and says so: it never claims what it was not told', () => {
  fc.assert(
    fc.property(fc.array(anyId, { minLength: 1 }), fc.integer({ min: 1, max: 12 }), (added, limit) => {
      const seen = new SeenBlocks(limit);
      const told = new Set<string>();
      for (const id of added) {
        seen.add(id);
        told.add(id.toString('hex'));
        expect(seen.has(id)).toBe(true);
      }
      expect(seen.complete).toBe(told.size <= limit);
      for (let last = 0; last < 60; last++) {
        const other = Buffer.alloc(32, 0x77);
        other[31] = last;
        expect(seen.has(other)).toBe(false);
      }
    }),
  );
});
