import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { IdSet } from './id-set.ts';

test('ids that were added are there, and no others, however many and wherever they lie', () => {
  const set = new IdSet();
  const added = randomBytes(5000 * 32);
  const others = randomBytes(5000 * 32);
  set.add(added.subarray(0, 1000 * 32));
  set.add(added.subarray(1000 * 32));
  set.add(added.subarray(0, 10 * 32));
  const bytes = Buffer.concat([Buffer.from('odd'), added, others]);
  const found = Array.from({ length: 10_000 }, (_, i) => set.has(bytes, 3 + i * 32));
  expect(found).toEqual(found.map((_, i) => i < 5000));
});

test('ids with the same beginning are told apart within what is kept', () => {
  const set = new IdSet();
  const ids = Array.from({ length: 3000 }, (_, i) => {
    const id = Buffer.alloc(32, 9);
    id.writeUInt32LE(i, 12);
    return id;
  });
  set.add(Buffer.concat(ids.slice(0, 2000)));
  expect(ids.map((id) => set.has(id, 0))).toEqual(ids.map((_, i) => i < 2000));
});

test('an id of zeros is never said to be there', () => {
  const set = new IdSet();
  set.add(Buffer.alloc(32));
  expect(set.has(Buffer.alloc(32), 0)).toBe(false);
});
