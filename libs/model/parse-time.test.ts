import { expect, test } from 'vitest';
import { parseTime } from './parse-time.ts';

test('a time with a zone is that moment wherever it is read', () => {
  const moment = '2026-11-24T10:15:00.000Z';
  for (const text of ['2026-11-24T10:15:00Z', '2026-11-24T10:15Z', '2026-11-24 12:15:00+02:00'])
    expect(parseTime(text)?.toISOString(), text).toBe(moment);
  expect(parseTime('2026-11-24T04:45:00-0530')?.toISOString()).toBe(moment);
  expect(parseTime('2026-11-24T10:15:00.25Z')?.getTime()).toBe(Date.parse(moment) + 250);
});

test('a time without a zone is local', () => {
  expect(parseTime('2026-11-24')).toEqual(new Date(2026, 10, 24));
  expect(parseTime('2026-11-24 10:15')).toEqual(new Date(2026, 10, 24, 10, 15));
  expect(parseTime('2026-11-24T10:15:30')).toEqual(new Date(2026, 10, 24, 10, 15, 30));
});

test('what is no time is refused, also where Date would make one of it', () => {
  for (const text of [
    '',
    '1',
    'yesterday',
    '2026',
    '2026-02-30',
    '2026-13-01',
    '2026-11-24T25:00',
    '24.11.2026',
  ])
    expect(parseTime(text), text).toBeUndefined();
});
