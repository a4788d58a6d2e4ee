import { expect, test } from 'vitest';
import type { Prepared } from './case.ts';
import { CASES } from './cases.ts';

/** Small enough for every run of the tests; how long it takes is `npm run bench -- --micro`'s business. */
const SCALE = 0.02;

test.each(CASES)(
  '$name: does what it measures, twice the same',
  { timeout: 120_000 },
  async ({ prepare }) => {
    const prepared: Prepared = await prepare(SCALE);
    try {
      const units = await prepared.run();
      prepared.check();
      expect(await prepared.run()).toBe(units);
      prepared.check();
      expect(units).toBeGreaterThan(0);
    } finally {
      await prepared.close?.();
    }
  },
);
