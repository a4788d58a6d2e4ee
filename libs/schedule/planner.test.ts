import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BackupFact, PlannedSource } from './due-slots.ts';
import { type DueJob, type JobInfo, type JobState, MAX_ATTEMPTS } from './job.ts';
import { plan } from './planner.ts';
import { type PolicyRequest, settlePolicy } from './policy.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = Date.parse('2026-03-01T00:00:00Z');
const at = (ms: number) => new Date(START + ms);

const REQUEST: PolicyRequest = {
  full: { every: '7d' },
  differential: { every: '1h' },
  differentialAfterFull: true,
};
const sourceWith = (request: PolicyRequest): PlannedSource => ({
  source: 'uid',
  agent: 'host',
  root: Buffer.from('/srv'),
  policy: settlePolicy(request, undefined, { full: undefined, any: undefined }, at(0)),
});
const SOURCE = sourceWith(REQUEST);

const made = (
  seq: number,
  kind: BackupFact['kind'],
  opened: number,
  committed = opened + MINUTE,
): BackupFact => ({
  seq,
  kind,
  openedAt: at(opened),
  committedAt: at(committed),
});
const info = (job: DueJob, state: JobState, endedAt?: number): JobInfo => ({
  ...job,
  state,
  offeredAt: at(0),
  endedAt: endedAt === undefined ? undefined : at(endedAt),
  failure: state === 'failed' ? 'TM1099' : undefined,
  backup: undefined,
});

interface Situation {
  readonly backups?: readonly BackupFact[];
  readonly jobs?: readonly JobInfo[];
  readonly isBusy?: boolean;
  readonly source?: PlannedSource;
}
const planAt = (now: number, { source = SOURCE, backups = [], jobs = [], isBusy = false }: Situation) =>
  plan(at(now), source, { backups, jobs, isBusy });
const dueAt = (now: number, situation: Situation) => {
  const { offer } = planAt(now, situation);
  return (
    offer && `${offer.kind} ${offer.reason} ${(Date.parse(offer.dueAt) - START) / HOUR} #${offer.attempt}`
  );
};

describe('first backup', () => {
  test('is a full, at once', () => {
    expect(dueAt(0, {})).toBe('full first 0 #1');
    expect(dueAt(5, { source: sourceWith({ differential: { every: '1h' } }) })).toBe('full first 0 #1');
    const nightly = sourceWith({ full: { cron: '0 3 * * *', timeZone: 'UTC' } });
    expect(dueAt(5, { source: nightly })).toBe('full first 0 #1');
    expect(dueAt(5, { source: sourceWith({}) })).toBe('full first 0 #1');
  });

  test('that was given up is tried at the next moment of any schedule', () => {
    const jobs: JobInfo[] = [];
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const { offer } = planAt(attempt * 46 * MINUTE - 46 * MINUTE, {
        jobs,
        source: sourceWith({ full: { every: '7d' } }),
      });
      jobs.push(info(offer!, 'failed', attempt * 46 * MINUTE - 45 * MINUTE));
    }
    expect(jobs.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    const weekly = sourceWith({ full: { every: '7d' } });
    expect(dueAt(6 * DAY, { jobs, source: weekly })).toBeUndefined();
    expect(dueAt(7 * DAY, { jobs, source: weekly })).toBe('full first 168 #1');
    expect(dueAt(5 * HOUR, { jobs })).toBe('full first 5 #1');
  });
});

describe('after the first', () => {
  const full = made(1, 'full', 0, 10 * MINUTE);

  test('a differential follows a full, whenever one looks, and only once', () => {
    expect(dueAt(10 * MINUTE, { backups: [full] })).toBe(`differential after-full ${10 / 60} #1`);
    expect(dueAt(50 * MINUTE, { backups: [full] })).toBe(`differential after-full ${10 / 60} #1`);
    expect(dueAt(50 * MINUTE, { backups: [full, made(2, 'differential', 11 * MINUTE)] })).toBeUndefined();
    const { differentialAfterFull: _, ...without } = REQUEST;
    expect(dueAt(50 * MINUTE, { backups: [full], source: sourceWith(without) })).toBeUndefined();
  });

  test('differentials come by the hour; any backup since the hour counts', () => {
    const backups = [full, made(2, 'differential', 11 * MINUTE)];
    expect(dueAt(HOUR - 1, { backups })).toBeUndefined();
    expect(dueAt(HOUR, { backups })).toBe('differential schedule 1 #1');
    expect(dueAt(HOUR + MINUTE, { backups: [...backups, made(3, 'full', HOUR)] })).toBe(
      `differential after-full ${61 / 60} #1`,
    );
    expect(dueAt(HOUR + 5, { backups: [...backups, made(3, 'differential', HOUR + 1)] })).toBeUndefined();
  });

  test('of many missed moments the newest one is due', () => {
    const backups = [full, made(2, 'differential', 11 * MINUTE)];
    expect(dueAt(30 * HOUR + 20, { backups })).toBe('differential schedule 30 #1');
    expect(dueAt(3 * 7 * DAY + 5 * HOUR, { backups })).toBe(`full schedule ${3 * 7 * 24} #1`);
  });

  test('a full goes before a differential, and takes the place of one that waits', () => {
    const backups = [full, made(2, 'differential', 11 * MINUTE)];
    const waiting = info(planAt(7 * DAY - HOUR, { backups }).offer!, 'waiting');
    expect(dueAt(7 * DAY, { backups })).toBe('full schedule 168 #1');
    const planned = planAt(7 * DAY, { backups, jobs: [waiting] });
    expect([planned.offer?.kind, planned.withdraw]).toEqual(['full', [waiting]]);
    const begun = { ...waiting, state: 'running' as const };
    expect(planAt(7 * DAY, { backups, jobs: [begun] })).toMatchObject({ offer: undefined, withdraw: [] });
  });

  test('nothing is due while one waits, runs, or is made by hand', () => {
    const backups = [full, made(2, 'differential', 11 * MINUTE)];
    const job = planAt(HOUR, { backups }).offer!;
    for (const state of ['waiting', 'running'] as const)
      expect(dueAt(9 * HOUR, { backups, jobs: [info(job, state)] })).toBeUndefined();
    expect(dueAt(9 * HOUR, { backups, isBusy: true })).toBeUndefined();
    const byHand = info({ ...job, id: 'x', slot: 'manual', reason: 'manual' }, 'waiting');
    expect(planAt(7 * DAY, { backups, jobs: [byHand] })).toMatchObject({ offer: undefined, withdraw: [] });
  });

  test('a slot whose job is done is not due again, also where the clocks of both sides differ', () => {
    const early = made(2, 'differential', HOUR - 500);
    const job = planAt(HOUR, { backups: [full, made(2, 'differential', 11 * MINUTE)] }).offer!;
    expect(dueAt(HOUR + MINUTE, { backups: [full, early], jobs: [info(job, 'done', HOUR)] })).toBeUndefined();
  });
});

describe('what failed', () => {
  const backups = [made(1, 'full', 0), made(2, 'differential', 11 * MINUTE)];

  test('is tried again later and later, then not until the next moment', () => {
    const jobs: JobInfo[] = [];
    const seen: string[] = [];
    for (let now = HOUR; now < 4 * HOUR; now += MINUTE) {
      const nightly = sourceWith({ differential: { every: '4h' } });
      const shifted = {
        ...nightly,
        policy: { ...nightly.policy, differential: { every: '4h', from: at(HOUR).toISOString() } },
      };
      const { offer } = planAt(now, { backups, jobs, source: shifted });
      if (!offer) continue;
      seen.push(`${(now - HOUR) / MINUTE} #${offer.attempt}`);
      jobs.push(info(offer, 'failed', now));
    }
    expect(seen).toEqual(['0 #1', '5 #2', '20 #3', '65 #4']);
    expect(dueAt(2 * HOUR, { backups, jobs })).toBe('differential schedule 2 #1');
  });

  test('a full that is to be tried again lets differentials through meanwhile', () => {
    const before = [...backups, made(3, 'differential', 7 * DAY - HOUR)];
    const failed = info(planAt(7 * DAY, { backups: before }).offer!, 'failed', 7 * DAY + MINUTE);
    expect(dueAt(7 * DAY + 2 * MINUTE, { backups: before, jobs: [failed] })).toBe(
      'differential schedule 168 #1',
    );
    expect(dueAt(7 * DAY + 6 * MINUTE, { backups: before, jobs: [failed] })).toBe('full schedule 168 #2');
  });
});

describe('a policy', () => {
  const backups = [made(1, 'full', 0), made(2, 'differential', 11 * MINUTE)];

  test('that is paused makes nothing, and takes back what waits', () => {
    const job = info(planAt(HOUR, { backups }).offer!, 'waiting');
    const source = sourceWith({ ...REQUEST, paused: true });
    expect(planAt(9 * DAY, { source, backups, jobs: [job] })).toEqual({
      offer: undefined,
      withdraw: [job],
      next: undefined,
    });
  });

  test('with a window lets jobs through in it only', () => {
    const source = sourceWith({ ...REQUEST, window: { from: '22:00', to: '06:00', timeZone: 'UTC' } });
    expect(dueAt(12 * HOUR, { source, backups })).toBeUndefined();
    expect(planAt(12 * HOUR, { source, backups }).next?.at).toEqual(at(13 * HOUR));
    expect(dueAt(22 * HOUR, { source, backups })).toBe('differential schedule 22 #1');
  });

  test('with jitter comes later, always by as much', () => {
    const source = sourceWith({ ...REQUEST, jitter: '30min' });
    const due: number[] = [];
    const all = [...backups];
    for (let now = HOUR; now < 6 * HOUR; now += MINUTE) {
      const { offer } = planAt(now, { source, backups: all });
      if (!offer) continue;
      due.push(Date.parse(offer.dueAt) - START);
      all.push(made(all.length + 1, offer.kind, now));
    }
    expect(live(everyMinutes(0, 2 * DAY), source).backups.filter(({ kind }) => kind === 'full')).toHaveLength(
      1,
    );
    const delays = due.map((time) => time % HOUR);
    expect(new Set(delays).size).toBe(1);
    expect(delays[0]).toBeGreaterThan(0);
    expect(delays[0]).toBeLessThan(30 * MINUTE);
  });

  test('says what comes next', () => {
    expect(planAt(HOUR + 1, { backups: [...backups, made(3, 'differential', HOUR)] }).next?.at).toEqual(
      at(2 * HOUR),
    );
    const failed = info(planAt(HOUR, { backups }).offer!, 'failed', HOUR);
    expect(planAt(HOUR + 1, { backups, jobs: [failed] }).next?.at).toEqual(at(HOUR + 5 * MINUTE));
  });
});

/** Plans and makes backups at once, by a clock that goes as it likes; gives what was made. */
function live(clock: readonly number[], source = SOURCE): { backups: BackupFact[]; jobs: JobInfo[] } {
  const backups: BackupFact[] = [];
  const jobs: JobInfo[] = [];
  for (const now of clock) {
    const offer = planAt(now, { source, backups, jobs }).offer;
    if (!offer) continue;
    jobs.push(info(offer, 'done', now));
    backups.push(made(backups.length + 1, offer.kind, now, now));
  }
  return { backups, jobs };
}

const everyMinutes = (from: number, to: number, step = 10) =>
  Array.from({ length: Math.floor((to - from) / (step * MINUTE)) }, (_, i) => from + i * step * MINUTE);

describe('clocks', () => {
  test('one that jumps forward makes one backup, not one for each hour it skipped', () => {
    const before = live(everyMinutes(0, 5 * HOUR)).backups.length;
    const clock = [...everyMinutes(0, 5 * HOUR), ...everyMinutes(60 * HOUR, 60 * HOUR + 50 * MINUTE)];
    expect(live(clock).backups.length).toBe(before + 1);
  });

  test.each([1, 7, 30, 59, 90, 180, 24 * 60])('one that is set back by %i min makes no double', (minutes) => {
    const clock = everyMinutes(0, 30 * HOUR);
    const back = clock.at(-1)! - minutes * MINUTE;
    const again = everyMinutes(back, clock.at(-1)! + 1);
    expect(live([...clock, ...again]).backups.length).toBe(live(clock).backups.length);
  });

  test('one that was wrong for a while stops nothing once it is right again', () => {
    const right = everyMinutes(0, 30 * HOUR);
    const later = everyMinutes(30 * HOUR, 35 * HOUR);
    const jumped = live([...right, 1000 * DAY, ...later]).backups.filter(
      ({ openedAt }) => openedAt < at(36 * HOUR),
    );
    const hours = jumped
      .slice(live(right).backups.length)
      .map(({ openedAt }) => (openedAt.getTime() - START) / HOUR);
    expect(hours).toEqual(expect.arrayContaining([31, 32, 33, 34]));
    expect(hours.length).toBeLessThanOrEqual(6);
  });
});

describe('whatever happens', () => {
  const times = fc.array(fc.integer({ min: 0, max: 20 * DAY }), { minLength: 1, maxLength: 80 });
  const requests = fc.record({
    full: fc.option(
      fc.constantFrom({ every: '7d' }, { every: '36h' }, { cron: '0 3 * * 0', timeZone: 'Europe/Berlin' }),
      { nil: undefined },
    ),
    differential: fc.option(
      fc.constantFrom(
        { every: '1h' },
        { every: '5h' },
        { cron: '*/30 * * * *', timeZone: 'America/New_York' },
      ),
      { nil: undefined },
    ),
    differentialAfterFull: fc.boolean(),
    jitter: fc.option(fc.constantFrom('7min', '3h'), { nil: undefined }),
  });
  const sources = requests.map((request) => sourceWith(JSON.parse(JSON.stringify(request))));

  test('no slot is served twice, and two backups of one moment never follow each other', () => {
    fc.assert(
      fc.property(sources, times, (source, clock) => {
        const { jobs } = live(clock, source);
        expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length);
        expect(new Set(jobs.map(({ slot }) => slot)).size).toBe(jobs.length);
      }),
    );
  });

  test('asked again it says the same, and after its backup it is content', () => {
    fc.assert(
      fc.property(sources, times, fc.integer({ min: 0, max: 20 * DAY }), (source, clock, now) => {
        const { backups, jobs } = live(
          clock.toSorted((a, b) => a - b),
          source,
        );
        const time = Math.max(now, ...clock);
        const situation = { source, backups, jobs };
        const first = planAt(time, situation);
        expect(planAt(time, situation)).toEqual(first);
        if (!first.offer) return;
        const after = [...backups, made(backups.length + 1, first.offer.kind, time, time)];
        const next = planAt(time, {
          source,
          backups: after,
          jobs: [...jobs, info(first.offer, 'done', time)],
        });
        if (first.offer.kind === 'differential') expect(next.offer).toBeUndefined();
        else expect(next.offer?.reason ?? 'after-full').toBe('after-full');
      }),
    );
  });

  test('a steady clock makes one backup for each hour that has passed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 59 }), fc.integer({ min: 1, max: 100 }), (step, hours) => {
        const source = sourceWith({ differential: { every: '1h' } });
        const clock = Array.from(
          { length: Math.floor((hours * 60) / step) + 1 },
          (_, i) => i * step * MINUTE,
        );
        const passed = Math.floor(clock.at(-1)! / HOUR) + 1;
        expect(live(clock, source).backups.length).toBe(passed);
      }),
    );
  });

  test('the facts that the registry gives are enough: they lead to what all facts lead to', () => {
    fc.assert(
      fc.property(sources, times, fc.integer({ min: 0, max: 20 * DAY }), (source, clock, now) => {
        const { backups, jobs } = live(clock, source);
        const of = (kind: BackupFact['kind']) => {
          const own = backups
            .filter((one) => one.kind === kind)
            .toSorted((a, b) => +a.openedAt - +b.openedAt);
          return [
            own.findLast(({ openedAt }) => openedAt <= at(now)),
            own.find(({ openedAt }) => openedAt > at(now)),
          ];
        };
        const few = [backups.at(-1), ...of('full'), ...of('differential')].filter((one) => one !== undefined);
        expect(planAt(now, { source, jobs, backups: few }).offer).toEqual(
          planAt(now, { source, jobs, backups }).offer,
        );
      }),
    );
  });
});
