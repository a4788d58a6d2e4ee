import { expect, it } from 'vitest';
import { RacyRule } from './racy.ts';
import { STAT_WORDS } from './stat-record.ts';

const STARTED = 1_000_000_000n;
const MS = 1_000_000;

/** A record with these times; see stat-record for the words. */
function record(ctime: { sec: number; nsec: number }, mtime: { sec: number; nsec: number }): Int32Array {
  const words = new Int32Array(STAT_WORDS);
  [ctime, mtime].forEach(({ sec, nsec }, i) => {
    const at = 8 + i * 4;
    words[at] = sec % 2 ** 32;
    words[at + 1] = Math.floor(sec / 2 ** 32);
    words[at + 2] = nsec;
  });
  return words;
}

const started = Number(STARTED);
const old = { sec: started - 100, nsec: 1 };

it.each([
  ['long before', { sec: started - 1, nsec: 989 * MS }, false],
  ['within the granularity', { sec: started - 1, nsec: 990 * MS }, true],
  ['after the start', { sec: started, nsec: 5 }, true],
  ['in whole seconds, two before', { sec: started - 3, nsec: 0 }, true],
  ['in whole seconds, long before', { sec: started - 4, nsec: 0 }, false],
  ['before 1970', { sec: -5, nsec: 1 }, false],
])('%s', (_, time, expected) => {
  const rule = new RacyRule(STARTED * 1_000_000_000n);
  expect(rule.applies(record(time, old), 0)).toBe(expected);
  expect(rule.applies(record(old, time), 0)).toBe(expected);
});

it('a time of modification that was set far ahead is not racy, a ctime is', () => {
  const rule = new RacyRule(STARTED * 1_000_000_000n);
  const ahead = { sec: started + 3600, nsec: 1 };
  expect(rule.applies(record(old, ahead), 0)).toBe(false);
  expect(rule.applies(record(ahead, old), 0)).toBe(true);
});

it('takes the granularity that it is told', () => {
  const time = { sec: started - 1, nsec: 1 };
  expect(new RacyRule(STARTED * 1_000_000_000n, 0).applies(record(time, time), 0)).toBe(false);
  expect(new RacyRule(STARTED * 1_000_000_000n, 1000 * MS).applies(record(time, time), 0)).toBe(true);
});
