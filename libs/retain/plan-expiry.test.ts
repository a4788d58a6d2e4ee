import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BackupInfo } from '../model/backup.ts';
import { BUCKETS, bucketsOf } from './buckets.ts';
import { before, parseDuration } from './duration.ts';
import { type ExpiryInput, planExpiry, type RetentionRules } from './plan-expiry.ts';

const NOTHING: RetentionRules = { buckets: {}, tags: [] };

type Sketch = Partial<Pick<BackupInfo, 'tags' | 'pinned'>> & { kind: 'F' | 'D'; time: string };

/** Backups with seqs 1, 2, 3 …; each differential depends on the full before it. */
function sourceOf(sketches: readonly Sketch[], needed: readonly number[] = []): ExpiryInput {
  let baseline = 0;
  const backups = sketches.map(({ kind, time, ...more }, i): BackupInfo => {
    if (kind === 'F') baseline = i + 1;
    return {
      id: `id${i + 1}`,
      sourceId: 1,
      seq: i + 1,
      epoch: { generation: 1, counter: i + 1 },
      kind: kind === 'F' ? 'full' : 'differential',
      label: `${kind}${i + 1}`,
      baselineSeq: baseline,
      baseSeq: i,
      state: 'committed',
      openedAt: new Date(time),
      committedAt: new Date(time),
      readFrom: undefined,
      readTo: undefined,
      stateDigest: undefined,
      counts: undefined,
      tags: {},
      pinned: false,
      gaps: undefined,
      failure: undefined,
      ...more,
    };
  });
  const now = new Date(Math.max(0, ...sketches.map(({ time }) => Date.parse(time))));
  return { backups, head: backups.length, baseline, needed, now };
}

const reasonsOf = (input: ExpiryInput, rules: Partial<RetentionRules>, zone = 'UTC') =>
  Object.fromEntries(
    planExpiry(input, { ...NOTHING, ...rules }, zone)
      .filter(({ action }) => action === 'keep')
      .map(({ backup, reasons }) => [backup.label, reasons]),
  );
const keptBy = (input: ExpiryInput, rules: Partial<RetentionRules>, zone = 'UTC') =>
  Object.entries(reasonsOf(input, rules, zone))
    .filter(([, reasons]) =>
      reasons.some((one) => /^(last|hourly|daily|weekly|monthly|yearly|within|tag)/.test(one)),
    )
    .map(([label]) => label);

const full = (time: string, more = {}): Sketch => ({ kind: 'F', time, ...more });
const diff = (time: string, more = {}): Sketch => ({ kind: 'D', time, ...more });

test('a bucket keeps its newest backup, and only buckets with backups count', () => {
  const source = sourceOf([
    full('2026-11-20T08:00:00Z'),
    full('2026-11-20T20:00:00Z'),
    full('2026-11-22T08:00:00Z'),
    full('2026-11-24T08:00:00Z'),
    full('2026-11-24T08:30:00Z'),
    full('2026-11-24T09:00:00Z'),
  ]);
  expect(keptBy(source, { last: 2 })).toEqual(['F5', 'F6']);
  expect(keptBy(source, { buckets: { daily: 3 } })).toEqual(['F2', 'F3', 'F6']);
  expect(keptBy(source, { buckets: { hourly: 2 } })).toEqual(['F5', 'F6']);
  expect(keptBy(source, { buckets: { weekly: 2 } })).toEqual(['F3', 'F6']);
  expect(keptBy(source, { buckets: { monthly: 5 } })).toEqual(['F6']);
  expect(keptBy(source, { last: 1, buckets: { daily: 2 } })).toEqual(['F3', 'F6']);
  expect(keptBy(source, { last: Number.POSITIVE_INFINITY })).toHaveLength(6);
});

test('weeks begin on Monday, also over the turn of the year', () => {
  const source = sourceOf([
    full('2026-12-27T12:00:00Z'), // Sunday
    full('2026-12-28T12:00:00Z'), // Monday
    full('2027-01-01T12:00:00Z'),
    full('2027-01-03T12:00:00Z'), // Sunday
    full('2027-01-04T12:00:00Z'), // Monday
  ]);
  expect(keptBy(source, { buckets: { weekly: 9 } })).toEqual(['F1', 'F4', 'F5']);
  expect(keptBy(source, { buckets: { yearly: 9 } })).toEqual(['F2', 'F5']);
});

test('days are those of the time zone', () => {
  const source = sourceOf([
    full('2026-11-23T22:30:00Z'),
    full('2026-11-23T23:30:00Z'),
    full('2026-11-24T01:00:00Z'),
  ]);
  expect(keptBy(source, { buckets: { daily: 9 } })).toEqual(['F2', 'F3']);
  expect(keptBy(source, { buckets: { daily: 9 } }, 'Europe/Berlin')).toEqual(['F1', 'F3']);
  expect(keptBy(source, { buckets: { daily: 9 } }, 'America/New_York')).toEqual(['F3']);
});

test('within counts from the newest backup, not from now', () => {
  const within = { text: '2d', duration: parseDuration('2d')! };
  const source = sourceOf([
    full('2001-01-01T00:00:00Z'),
    full('2001-01-01T00:00:01Z'),
    full('2001-01-03T00:00:01Z'),
  ]);
  expect(reasonsOf(source, { within })).toEqual({
    F2: ['within 2d'],
    F3: ['within 2d', 'newest', 'current baseline'],
  });
});

test('tags keep: any of them, by key and value', () => {
  const source = sourceOf([
    full('2026-01-01T00:00:00Z', { tags: { env: 'prod' } }),
    full('2026-01-02T00:00:00Z', { tags: { env: 'test' } }),
    full('2026-01-03T00:00:00Z', { tags: { env: 'dev', release: '1' } }),
    full('2026-01-04T00:00:00Z'),
  ]);
  expect(
    keptBy(source, {
      tags: [
        ['env', 'prod'],
        ['env', 'test'],
        ['release', '2'],
        ['toString', ''],
      ],
    }),
  ).toEqual(['F1', 'F2']);
});

test('pins, what a backup under way needs, and baselines of kept differentials stay', () => {
  const source = sourceOf(
    [
      full('2026-01-01T00:00:00Z'),
      diff('2026-01-02T00:00:00Z', { pinned: true }),
      diff('2026-01-03T00:00:00Z'),
      full('2026-01-04T00:00:00Z'),
      diff('2026-01-05T00:00:00Z'),
      full('2026-01-06T00:00:00Z'),
      full('2026-01-07T00:00:00Z'),
      diff('2026-01-08T00:00:00Z'),
      diff('2026-01-09T00:00:00Z'),
    ],
    [5],
  );
  expect(reasonsOf(source, { last: 1 })).toEqual({
    F1: ['baseline of a kept differential'],
    D2: ['pinned'],
    F4: ['baseline of a kept differential'],
    D5: ['needed by a backup under way'],
    F7: ['current baseline', 'baseline of a kept differential'],
    D9: ['last', 'newest'],
  });
  expect(planExpiry(source, { ...NOTHING, last: 1 }, 'UTC')[2]).toMatchObject({
    action: 'expire',
    reasons: ['no rule keeps it'],
  });
});

test('order goes by seq where the clock was set back', () => {
  const source = sourceOf([
    full('2026-01-03T00:00:00Z'),
    full('2026-01-01T00:00:00Z'),
    full('2026-01-02T00:00:00Z'),
  ]);
  expect(keptBy(source, { last: 1 })).toEqual(['F3']);
});

test('no backups, no decisions', () => {
  expect(
    planExpiry(
      { backups: [], head: 0, baseline: 0, needed: [], now: new Date() },
      { ...NOTHING, last: 1 },
      'UTC',
    ),
  ).toEqual([]);
});

const count = fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined });
const anyRules = fc
  .record({
    last: fc.integer({ min: 0, max: 3 }),
    buckets: fc.record({ hourly: count, daily: count, weekly: count, monthly: count, yearly: count }),
    within: fc.option(fc.constantFrom('1h', '3d', '1m', '1y'), { nil: undefined }),
    tag: fc.boolean(),
  })
  .map(({ last, buckets, within, tag }): RetentionRules => {
    const given = Object.fromEntries(Object.entries(buckets).filter(([, n]) => n !== undefined));
    const span = within === undefined ? {} : { within: { text: within, duration: parseDuration(within)! } };
    return { last, buckets: given, ...span, tags: tag ? [['k', 'v']] : [] };
  });
const anySource = fc
  .array(
    fc.record({
      kind: fc.constantFrom('F' as const, 'D' as const),
      hours: fc.oneof(fc.integer({ min: -3, max: 30 }), fc.integer({ min: 0, max: 4000 })),
      pinned: fc.boolean(),
      tags: fc.constantFrom({}, {}, { k: 'v' }, { k: 'w' }),
    }),
    { minLength: 1, maxLength: 25 },
  )
  .chain((sketches) => {
    let time = Date.UTC(2024, 0, 1);
    const source = sketches.map(({ hours, kind, ...more }, i) => {
      time += hours * 3_600_000;
      return { ...more, kind: i === 0 ? ('F' as const) : kind, time: new Date(time).toISOString() };
    });
    return fc
      .array(fc.integer({ min: 1, max: sketches.length }), { maxLength: 2 })
      .map((needed) => sourceOf(source, needed));
  });
const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'Pacific/Auckland', 'America/St_Johns');

test('what stays is whole: newest, baselines, pins, needs; each has a reason, and nothing stays without one', () => {
  fc.assert(
    fc.property(anySource, anyRules, zones, (source, rules, zone) => {
      const plan = planExpiry(source, rules, zone);
      expect(plan.map(({ backup }) => backup)).toEqual(source.backups);
      const kept = new Set(plan.filter(({ action }) => action === 'keep').map(({ backup }) => backup.seq));
      for (const seq of [source.head, source.baseline, ...source.needed]) expect(kept).toContain(seq);
      for (const { backup, reasons } of plan) {
        expect(reasons.length).toBeGreaterThan(0);
        if (backup.pinned) expect(kept).toContain(backup.seq);
        if (kept.has(backup.seq)) expect(kept).toContain(backup.baselineSeq);
      }
    }),
  );
});

test('each rule keeps what its own definition says, whatever the others are; more rules never keep less', () => {
  fc.assert(
    fc.property(anySource, anyRules, zones, (source, rules, zone) => {
      const { backups } = source;
      const kept = new Set(
        planExpiry(source, rules, zone).flatMap(({ backup, action }) =>
          action === 'keep' ? [backup.seq] : [],
        ),
      );
      for (const one of backups.slice(backups.length - (rules.last ?? 0))) expect(kept).toContain(one.seq);
      for (const bucket of BUCKETS) {
        // Of each bucket the backup after which none of the same bucket comes, the newest of those first.
        const keyOf = (one: BackupInfo) => bucketsOf(zone)(one.committedAt!)[bucket];
        const lasts = backups.filter((one, i) =>
          backups.slice(i + 1).every((next) => keyOf(next) !== keyOf(one)),
        );
        const wanted = rules.buckets[bucket] ?? 0;
        for (const one of wanted > 0 ? lasts.slice(-wanted) : []) expect(kept).toContain(one.seq);
      }
      if (rules.within) {
        const from = before(backups.at(-1)!.committedAt!, rules.within.duration);
        for (const one of backups) if (one.committedAt! >= from) expect(kept).toContain(one.seq);
      }
      if (rules.tags.length > 0)
        for (const one of backups) if (one.tags.k === 'v') expect(kept).toContain(one.seq);
      const fewer = planExpiry(source, { ...rules, last: 0, buckets: {} }, zone);
      for (const { backup, action } of fewer) if (action === 'keep') expect(kept).toContain(backup.seq);
    }),
  );
});

test('expiring twice by the same rules changes nothing the second time', () => {
  fc.assert(
    fc.property(anySource, anyRules, zones, (source, rules, zone) => {
      const left = planExpiry(source, rules, zone).filter(({ action }) => action === 'keep');
      const again = planExpiry({ ...source, backups: left.map(({ backup }) => backup) }, rules, zone);
      const rulesOnly = (one: readonly string[]) =>
        one.filter((reason) => reason !== 'baseline of a kept differential');
      // A baseline that stays for a differential may now be the newest of an older bucket; it stays either way.
      for (const { action } of again) expect(action).toBe('keep');
      expect(rulesOnly(again.at(-1)!.reasons)).toEqual(rulesOnly(left.at(-1)!.reasons));
    }),
  );
});

test('a backup that is dated ahead by a clock gone wrong makes no other one too old', () => {
  const source = sourceOf([
    { kind: 'F', time: '2026-11-20T10:00:00Z' },
    { kind: 'F', time: '2026-11-22T10:00:00Z' },
    { kind: 'F', time: '2099-01-01T00:00:00Z' },
  ]);
  const within = { text: '3d', duration: parseDuration('3d')! };
  const at = (now: string) => keptBy({ ...source, now: new Date(now) }, { within });
  expect(at('2026-11-24T09:00:00Z')).toEqual(['F2', 'F3']);
  expect(at('2199-01-01T00:00:00Z')).toEqual(['F3']);
});
