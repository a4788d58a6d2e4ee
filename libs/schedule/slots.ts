import { Cron } from 'croner';
import { TmError } from '../model/errors.ts';
import type { CronSchedule, Schedule } from './policy.ts';

const UNITS = { w: 604_800_000, d: 86_400_000, h: 3_600_000, min: 60_000 } as const;
const SPAN = /^(?:(\d{1,3})w)?(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})min)?$/;

/** Milliseconds of `1w2d3h30min`, any of them in this order; undefined for anything else, and for nothing at all. */
export function parseSpan(text: string): number | undefined {
  const match = SPAN.exec(text);
  const counts = match?.slice(1).map((part) => Number(part ?? 0)) ?? [];
  const total = Object.values(UNITS).reduce((sum, unit, i) => sum + unit * (counts[i] ?? 0), 0);
  return total > 0 ? total : undefined;
}

/** A schedule's moments, without drift: an interval's lie on a grid, a cron expression's on its zone's clocks. */
export interface Slots {
  /** The newest moment that is not after `time`; undefined before the first. */
  latest(time: Date): Date | undefined;
  /** The first moment after `time`; undefined where there is none, as for 30 February. */
  next(time: Date): Date | undefined;
}

export function slotsOf(schedule: Schedule): Slots {
  const from = new Date(schedule.from);
  return 'every' in schedule ? gridSlots(parseSpan(schedule.every)!, from) : cronSlots(schedule, from);
}

/** `from` and every multiple of the interval after it. */
function gridSlots(every: number, from: Date): Slots {
  const steps = (time: Date) => Math.floor((time.getTime() - from.getTime()) / every);
  const slot = (step: number) => new Date(from.getTime() + step * every);
  return {
    latest: (time) => (steps(time) < 0 ? undefined : slot(steps(time))),
    next: (time) => slot(Math.max(0, steps(time) + 1)),
  };
}

/** Moments after `from`. What a zone's clocks skip comes right after the gap, what they show twice comes once. */
function cronSlots(schedule: CronSchedule, from: Date): Slots {
  const cron = openCron(schedule);
  return {
    latest(time) {
      const slot = cron.previousRuns(1, new Date(time.getTime() + 1))[0];
      return slot && slot > from ? slot : undefined;
    },
    next: (time) => cron.nextRun(time > from ? time : from) ?? undefined,
  };
}

/** Throws TM1812 for an expression or a time zone that makes no sense. */
export function openCron({ cron, timeZone }: Pick<CronSchedule, 'cron' | 'timeZone'>): Cron {
  try {
    const opened = new Cron(cron, { timezone: timeZone, mode: '5-part', paused: true });
    if (!opened.nextRun()) throw new RangeError('it never comes');
    return opened;
  } catch (cause) {
    throw new TmError('TM1812', `${cron} in ${timeZone}: ${(cause as Error).message}`, { cause });
  }
}
