import { expect, test } from 'vitest';
import { parseShortSpan } from './short-span.ts';

test('a short span is a number with its unit', () => {
  expect(['1ms', '500ms', '5s', '2min', '1h', '999999h'].map(parseShortSpan)).toEqual([
    1,
    500,
    5000,
    120_000,
    3_600_000,
    999_999 * 3_600_000,
  ]);
  for (const bad of ['', '5', 's', '0s', '-1s', '1.5s', '5 s', '1min30s', '5S', '1d', '1000000s'])
    expect(parseShortSpan(bad), bad).toBeUndefined();
});
