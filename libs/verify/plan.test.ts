import fc from 'fast-check';
import { expect, test } from 'vitest';
import { choosePacks } from './check-packs.ts';
import { planRanges } from './pack-check.ts';

test('the ranges of a pack are the whole pack, and every frame lies in one of them', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 100, max: 5_000_000 }), { maxLength: 30 }), (lengths) => {
      let at = 24;
      const frames = lengths.map((length) => {
        const frame = { offset: at, length, checksum: Buffer.alloc(16), blocks: [] };
        at += length;
        return frame;
      });
      const ranges = planRanges(frames, at + 500);
      expect(ranges.flatMap((range) => range.frames)).toEqual(frames);
      let end = 0;
      for (const range of ranges) {
        expect(range.start).toBe(end);
        end = range.end;
        for (const { offset, length } of range.frames)
          expect(offset >= range.start && offset + length <= range.end).toBe(true);
      }
      expect(end).toBe(at + 500);
    }),
  );
});

test('a part of the packs is that part, rounded up, and any pack may be in it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 50 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 50, maxLength: 50 }),
      (count, part, chances) => {
        const packs = Array.from({ length: count }, (_, i) => i);
        const chosen = choosePacks(packs, part, () => chances.pop() ?? 0);
        expect(chosen.size).toBe(Math.min(count, Math.ceil(count * part)));
        expect([...chosen].every((pack) => packs.includes(pack))).toBe(true);
      },
    ),
  );
  const seen = new Set<number>();
  for (let i = 0; i < 10; i++)
    for (const pack of choosePacks([...Array(10).keys()], 0.1, () => i / 10)) seen.add(pack);
  expect(seen.size).toBe(10);
});
