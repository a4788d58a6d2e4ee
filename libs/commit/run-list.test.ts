import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RunRef } from '../registry/port.ts';
import { MAX_RUNS, planRun } from './run-list.ts';

const run = (fromSeq: number, toSeq: number, records: number): RunRef => ({
  fromSeq,
  toSeq,
  records,
  parts: [],
});

test('a list with room keeps all runs and adds one from the newest seq', () => {
  expect(planRun([run(0, 1, 100), run(1, 2, 5)], 3)).toEqual({ keep: 2, fromSeq: 2 });
  expect(planRun([], 3)).toEqual({ keep: 0, fromSeq: 0 });
});

test('any chain of backups has at most eight runs, without a gap, and rewrites few records', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 300 }), (sizes) => {
      let list: RunRef[] = [];
      let written = 0;
      for (const [i, size] of [10_000, ...sizes].entries()) {
        const { keep, fromSeq } = planRun(list, size);
        const merged = list.slice(keep).reduce((sum, one) => sum + one.records, size);
        list = [...list.slice(0, keep), run(fromSeq, i + 1, merged)];
        written += merged;
        expect(list.length).toBeLessThanOrEqual(MAX_RUNS);
        list.forEach((one, at) => {
          expect(one.fromSeq).toBe(at === 0 ? 0 : list[at - 1]!.toSeq);
        });
      }
      const total = sizes.reduce((sum, size) => sum + size, 10_000);
      expect(written).toBeLessThanOrEqual(total * (2 + Math.ceil(Math.log2(sizes.length + 2))) + 10_000 * 2);
    }),
  );
});
