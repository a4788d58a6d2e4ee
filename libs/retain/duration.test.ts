import { expect, test } from 'vitest';
import { before, parseDuration } from './duration.ts';

const NONE = { years: 0, months: 0, weeks: 0, days: 0, hours: 0 };

test('a span is years, months, weeks, days and hours, any of them', () => {
  expect(parseDuration('1y2m3w4d5h')).toEqual({ years: 1, months: 2, weeks: 3, days: 4, hours: 5 });
  expect(parseDuration('36h')).toEqual({ ...NONE, hours: 36 });
  for (const text of ['', '7', 'd', '1h1d', '-1d', '1.5d', '7 d', '1s'])
    expect(parseDuration(text), text).toBeUndefined();
});

test('months end where their last day is', () => {
  const ago = (time: string, span: string) => before(new Date(time), parseDuration(span)!).toISOString();
  expect(ago('2026-03-31T10:00:00.000Z', '1m')).toBe('2026-02-28T10:00:00.000Z');
  expect(ago('2024-02-29T10:00:00.000Z', '1y')).toBe('2023-02-28T10:00:00.000Z');
  expect(ago('2024-03-31T10:00:00.000Z', '1m')).toBe('2024-02-29T10:00:00.000Z');
  expect(ago('2026-01-15T10:00:00.000Z', '1y1m1w1d1h')).toBe('2024-12-07T09:00:00.000Z');
});
