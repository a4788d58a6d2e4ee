import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Policy, PolicyRequest } from './policy.ts';
import { parsePolicy, parsePolicyRequest, printPolicy, settlePolicy } from './policy.ts';
import { parseSpan, slotsOf } from './slots.ts';
import { openingOf } from './time-window.ts';

const HOUR = 3_600_000;
const at = (text: string) => new Date(text);
const BERLIN = 'Europe/Berlin';

test('a span is weeks, days, hours and minutes', () => {
  expect(parseSpan('7d')).toBe(7 * 24 * HOUR);
  expect(parseSpan('1w2d3h30min')).toBe((9 * 24 + 3.5) * HOUR);
  for (const bad of ['', '0h', '1y', '3m', '7', 'd', '-1h', '1h 2min', '1min2h', '7D'])
    expect(parseSpan(bad), bad).toBeUndefined();
});

describe('what is wrong is named', () => {
  const refused = (value: unknown) => {
    try {
      parsePolicyRequest(value);
    } catch (error) {
      return error as { code: string; message: string };
    }
    throw new Error('it was taken');
  };
  test.each([
    [{ full: { every: '3m' } }, /full.*7d/],
    [{ full: { cron: '61 * * * *', timeZone: 'UTC' } }, /full.*minute/],
    [{ full: { cron: '0 0 30 2 *', timeZone: 'UTC' } }, /full.*never/],
    [{ full: { cron: '* * * * * *', timeZone: 'UTC' } }, /full/],
    [{ full: { cron: '0 3 * * *', timeZone: 'Mars/Base' } }, /full.*Europe\/Berlin/],
    [{ full: { every: '7d', cron: '0 3 * * *', timeZone: 'UTC' } }, /full/],
    [{ fulls: {} }, /fulls/],
    [{ window: { from: '24:00', to: '06:00', timeZone: 'UTC' } }, /window.from.*22:30/],
    [{ tags: { a: 1 } }, /tags.a/],
    [{ watch: { every: '5' } }, /watch.every.*500ms/],
    [{ watch: { recoveryPoint: '1d' } }, /watch.recoveryPoint.*5s/],
    [{ watch: { evry: '5s' } }, /evry/],
    ['daily', /object/],
  ])('%j', (value, message) => {
    const error = refused(value);
    expect(error.code).toBe('TM1812');
    expect(error.message).toMatch(message);
  });

  test('a kept policy without its start is none', () => {
    expect(() => parsePolicy({ full: { every: '7d' }, since: '2026-01-01T00:00:00Z' })).toThrow(
      expect.objectContaining({ code: 'TM1812' }),
    );
  });
});

test('a policy is one line for people', () => {
  const policy: PolicyRequest = {
    full: { cron: '0 3 * * 0', timeZone: BERLIN },
    differential: { every: '1h' },
    differentialAfterFull: true,
    jitter: '10min',
    window: { from: '22:00', to: '06:00', timeZone: 'UTC' },
    excludes: ['*.tmp'],
    tags: { host: 'web1' },
  };
  expect(printPolicy(parsePolicyRequest(policy))).toBe(
    'full at 0 3 * * 0 in Europe/Berlin, differential every 1h, differential after each full, up to 10min later, between 22:00 and 06:00 in UTC, without *.tmp, host=web1',
  );
  expect(printPolicy({ paused: true })).toBe('paused, a first full only');
  expect(printPolicy(parsePolicyRequest({ watch: { every: '5s', recoveryPoint: '2min' } }))).toBe(
    'a first full only, watched every 5s, no change older than 2min without a backup',
  );
});

describe('from when a schedule counts', () => {
  const now = at('2026-03-10T12:00:00Z');
  const none = { full: undefined, any: undefined };
  const settle = (
    request: PolicyRequest,
    before?: Policy,
    newest = none as Parameters<typeof settlePolicy>[2],
  ) => settlePolicy(request, before, newest, now);

  test('from now where there is no backup yet, or none that is recent', () => {
    expect(settle({ full: { every: '7d' } }).full?.from).toBe(now.toISOString());
    const old = at('2026-03-01T00:00:00Z');
    expect(settle({ full: { every: '7d' } }, undefined, { full: old, any: old }).full?.from).toBe(
      now.toISOString(),
    );
  });

  test('from a recent backup, so that the next one is not early', () => {
    const newest = { full: at('2026-03-08T00:00:00Z'), any: at('2026-03-10T11:30:00Z') };
    const policy = settle({ full: { every: '7d' }, differential: { every: '1h' } }, undefined, newest);
    expect([policy.full?.from, policy.differential?.from]).toEqual([
      newest.full.toISOString(),
      newest.any.toISOString(),
    ]);
  });

  test('a schedule that stays goes on as it was; a new one begins anew', () => {
    const before = settlePolicy(
      { full: { every: '7d' }, differential: { every: '2h' } },
      undefined,
      none,
      at('2026-01-01T00:00:00Z'),
    );
    const policy = settle({ full: { every: '7d' }, differential: { every: '1h' }, paused: true }, before);
    expect(policy.full).toEqual(before.full);
    expect(policy.differential?.from).toBe(now.toISOString());
    expect(policy.since).toBe(before.since);
    expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
  });
});

describe('moments of a schedule', () => {
  const from = '2026-01-01T10:20:30.000Z';

  test('those of an interval lie on a grid, whenever one looks', () => {
    const { latest, next } = slotsOf({ every: '1h', from });
    expect(latest(at('2026-01-01T10:20:29.999Z'))).toBeUndefined();
    expect(next(at('2025-01-01T00:00:00Z'))).toEqual(at(from));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (ms) => {
        const time = new Date(at(from).getTime() + ms);
        const [slot, after] = [latest(time)!, next(time)!];
        expect(slot <= time && time < after).toBe(true);
        expect(after.getTime() - slot.getTime()).toBe(HOUR);
        expect((slot.getTime() - at(from).getTime()) % HOUR).toBe(0);
      }),
    );
  });

  test('a daily one keeps to the clocks of its zone when they are put forward and back', () => {
    const { next } = slotsOf({ cron: '0 4 * * *', timeZone: BERLIN, from });
    const three = (text: string) => {
      const found = [next(at(text))!];
      while (found.length < 3) found.push(next(found.at(-1)!)!);
      return found.map((one) => one.toISOString());
    };
    expect(three('2026-03-27T12:00:00Z')).toEqual([
      '2026-03-28T03:00:00.000Z',
      '2026-03-29T02:00:00.000Z',
      '2026-03-30T02:00:00.000Z',
    ]);
    expect(three('2026-10-23T12:00:00Z')).toEqual([
      '2026-10-24T02:00:00.000Z',
      '2026-10-25T03:00:00.000Z',
      '2026-10-26T03:00:00.000Z',
    ]);
  });

  test('a time that the clocks skip comes after the gap; one that they show twice comes once', () => {
    const { latest } = slotsOf({ cron: '30 2 * * *', timeZone: BERLIN, from });
    expect(latest(at('2026-03-29T12:00:00Z'))).toEqual(at('2026-03-29T01:00:00Z'));
    const shown = new Set<number>();
    for (let hour = 0; hour < 48; hour++)
      shown.add(latest(new Date(at('2026-10-24T12:00:00Z').getTime() + hour * HOUR))!.getTime());
    expect([...shown].map((ms) => new Date(ms).toISOString())).toEqual([
      '2026-10-24T00:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ]);
  });

  test('an hourly one has all 25 hours of the long day and 23 of the short one', () => {
    const { next } = slotsOf({ cron: '0 * * * *', timeZone: BERLIN, from });
    const count = (since: string, until: string) => {
      let [time, found] = [next(new Date(at(since).getTime() - 1))!, 0];
      for (; time < at(until); time = next(time)!) found++;
      return found;
    };
    expect(count('2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z')).toBe(25);
    expect(count('2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z')).toBe(23);
  });

  test('latest and next agree at every moment around a change of the clocks', () => {
    const { latest, next } = slotsOf({ cron: '*/20 1-3 * * *', timeZone: BERLIN, from });
    const start = at('2026-10-24T20:00:00Z').getTime();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 12 * HOUR }), (ms) => {
        const time = new Date(start + ms);
        const after = next(time)!;
        expect(after > time).toBe(true);
        expect(latest(after)).toEqual(after);
        expect(latest(new Date(after.getTime() - 1))).toEqual(latest(time));
      }),
    );
  });
});

describe('a window of the day', () => {
  test('over midnight, in its zone', () => {
    const window = { from: '22:00', to: '06:00', timeZone: BERLIN };
    const inside = at('2026-01-10T22:30:00Z');
    expect(openingOf(window, inside)).toEqual(inside);
    expect(openingOf(window, at('2026-01-10T05:00:00Z'))).toEqual(at('2026-01-10T21:00:00Z'));
    expect(openingOf(window, at('2026-07-10T04:00:30Z'))).toEqual(at('2026-07-10T20:00:00Z'));
  });

  test('that the clocks skip today opens tomorrow', () => {
    const window = { from: '02:10', to: '02:50', timeZone: BERLIN };
    expect(openingOf(window, at('2026-03-29T00:30:00Z'))).toEqual(at('2026-03-30T00:10:00Z'));
  });
});
