import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RacyTimes } from './racy-times.ts';

const NS = 1_000_000_000n;
const STARTED = 1_800_000_000n * NS + 5n;

const split = (ns: bigint) => {
  const nsec = ((ns % NS) + NS) % NS;
  return { sec: (ns - nsec) / NS, nsec: Number(nsec) };
};

function isRacy(ctimeNs: bigint, mtimeNs: bigint, granularityNs = 10_000_000n): boolean {
  const [ctime, mtime] = [split(ctimeNs), split(mtimeNs)];
  return new RacyTimes(STARTED, granularityNs).has({
    ctimeSec: ctime.sec,
    ctimeNsec: ctime.nsec,
    mtimeSec: mtime.sec,
    mtimeNsec: mtime.nsec,
  });
}

/** The rule in nanoseconds. */
function expected(ctimeNs: bigint, mtimeNs: bigint, granularityNs: bigint): boolean {
  const limit = STARTED - granularityNs;
  return ctimeNs >= limit || (mtimeNs >= limit && mtimeNs <= STARTED + 60n * NS);
}

test('times from the granularity before the start on are racy, those of modification up to a minute after it', () => {
  const old = STARTED - 100n * NS;
  const limit = STARTED - 10_000_000n;
  expect(isRacy(old, old)).toBe(false);
  expect(isRacy(limit - 1n, limit - 1n)).toBe(false);
  expect(isRacy(limit, old)).toBe(true);
  expect(isRacy(old, limit)).toBe(true);
  expect(isRacy(old, STARTED + 60n * NS)).toBe(true);
  expect(isRacy(old, STARTED + 60n * NS + 1n)).toBe(false);
  expect(isRacy(STARTED + 3600n * NS, old)).toBe(true);
  expect(isRacy(-5n, -5n * NS - 1n)).toBe(false);
});

test('at any times, as in nanoseconds', () => {
  const near = fc.bigInt({ min: STARTED - 2n * NS, max: STARTED + 62n * NS });
  const any = fc.bigInt({ min: -(2n ** 61n), max: 2n ** 61n });
  const time = fc.oneof(near, any);
  const tick = fc.bigInt({ min: 0n, max: 3n * NS });
  fc.assert(
    fc.property(time, time, tick, (ctime, mtime, granularity) => {
      expect(isRacy(ctime, mtime, granularity)).toBe(expected(ctime, mtime, granularity));
    }),
  );
});
