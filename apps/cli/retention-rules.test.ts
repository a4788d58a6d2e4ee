import { expect, test } from 'vitest';
import { retentionRules } from './retention-rules.ts';

test('without a rule that keeps something it is wrong usage: nothing ever expires by default', () => {
  for (const options of [{}, { keepLast: '0' }, { keepDaily: '0', keepTag: [] }])
    expect(() => retentionRules(options)).toThrow(expect.objectContaining({ code: 'TM1001' }));
});

test('a bad value is named', () => {
  for (const options of [
    { keepLast: '-1' },
    { keepLast: '1.5' },
    { keepDaily: 'x' },
    { keepYearly: '' },
    { keepWithin: '7' },
    { keepWithin: '0d' },
    { keepTag: ['k'] },
  ])
    expect(() => retentionRules(options), JSON.stringify(options)).toThrow(
      expect.objectContaining({ code: 'TM1002' }),
    );
});

test('rules as given; a key may have several values', () => {
  expect(
    retentionRules({
      keepLast: 'unlimited',
      keepDaily: '7',
      keepWithin: '1y2m',
      keepTag: ['a=1', 'a=2', 'b=x=y'],
    }),
  ).toEqual({
    last: Number.POSITIVE_INFINITY,
    buckets: { hourly: 0, daily: 7, weekly: 0, monthly: 0, yearly: 0 },
    within: { text: '1y2m', duration: { years: 1, months: 2, weeks: 0, days: 0, hours: 0 } },
    tags: [
      ['a', '1'],
      ['a', '2'],
      ['b', 'x=y'],
    ],
  });
});
