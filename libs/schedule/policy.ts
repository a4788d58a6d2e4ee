import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { parseShortSpan } from '../model/short-span.ts';
import { openCron, parseSpan } from './slots.ts';

const moment = z.iso.datetime();
const span = z.string().refine((text) => parseSpan(text) !== undefined, {
  error: 'expected is a span such as 7d, 1h or 30min (w, d, h, min; for months take a cron expression)',
});
const shortSpan = z.string().refine((text) => parseShortSpan(text) !== undefined, {
  error: 'expected is a span such as 500ms, 5s, 2min or 1h',
});
const timeZone = z.string().refine(isTimeZone, { error: 'expected is a time zone such as Europe/Berlin' });
const clockTime = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected is a time of day such as 22:30');

const interval = z.strictObject({ every: span });
const cron = z.strictObject({ cron: z.string(), timeZone }).superRefine((value, context) => {
  try {
    openCron(value);
  } catch (error) {
    context.addIssue((error as Error).message);
  }
});

const common = {
  /** A differential is due as soon as a full has been committed. */
  differentialAfterFull: z.boolean().optional(),
  /** Every moment comes later by up to this much, differently for each source: spreads the load. */
  jitter: span.optional(),
  /** Jobs are offered only at these times of day; `to` before `from` is a window over midnight. */
  window: z.strictObject({ from: clockTime, to: clockTime, timeZone }).optional(),
  /** Patterns of git-ignore style, as of `backup --exclude`. */
  excludes: z.array(z.string().min(1)).max(1000).optional(),
  tags: z.record(z.string().min(1), z.string()).optional(),
  paused: z.boolean().optional(),
  /** Of who watches the source. */
  watch: z
    .strictObject({
      /** Between the beginnings of two micro-differentials. */
      every: shortSpan.optional(),
      /** Of the age of the oldest change that no backup has yet: past it there is an event. */
      recoveryPoint: shortSpan.optional(),
    })
    .optional(),
};

/** What people ask for. */
export const PolicyRequest = z.strictObject({
  full: z.union([interval, cron]).optional(),
  differential: z.union([interval, cron]).optional(),
  ...common,
});
export type PolicyRequest = z.infer<typeof PolicyRequest>;

const intervalFrom = z.strictObject({ ...interval.shape, from: moment });
const cronFrom = z.strictObject({ cron: z.string(), timeZone, from: moment });
const schedule = z.union([intervalFrom, cronFrom]);

/** What is kept: each schedule also says from when it counts, so that its moments never drift. */
export const Policy = z.strictObject({
  full: schedule.optional(),
  differential: schedule.optional(),
  /** When the policy was first set: the due time of the source's first full where `full` has no moment yet. */
  since: moment,
  ...common,
});
export type Policy = z.infer<typeof Policy>;
export type Schedule = z.infer<typeof schedule>;
export type CronSchedule = z.infer<typeof cronFrom>;
export type TimeWindow = NonNullable<Policy['window']>;

/** Throws TM1812, naming what is wrong. */
export const parsePolicyRequest = (value: unknown): PolicyRequest => parsed(PolicyRequest, value);
export const parsePolicy = (value: unknown): Policy => parsed(Policy, value);

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new TmError('TM1812', result.error.issues.map(told).join('; '), { cause: result.error });
}

/** Of an interval and a cron expression, the one that was meant has the issue worth telling. */
function told(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_union') return at(issue.path, issue.message);
  const meant = issue.errors.find((issues) => issues.every(({ code }) => code !== 'unrecognized_keys'));
  const [first] = meant ?? [];
  return first
    ? at([...issue.path, ...first.path], first.message)
    : at(issue.path, 'expected is {every}, or {cron, timeZone}');
}

const at = (path: readonly PropertyKey[], message: string): string =>
  path.length > 0 ? `${path.join('.')}: ${message}` : message;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** When the newest backups of a source were opened. */
export interface NewestTimes {
  readonly full: Date | undefined;
  readonly any: Date | undefined;
}

/**
 * The policy that a request makes of the one before. A schedule that stays as it was goes on counting from where it did;
 * a new interval counts from the newest backup that fulfils it, or from now, so that it is due at once.
 */
export function settlePolicy(
  request: PolicyRequest,
  before: Policy | undefined,
  newest: NewestTimes,
  now: Date,
): Policy {
  const { full, differential, ...rest } = request;
  return {
    ...rest,
    ...(full && { full: settled(full, before?.full, newest.full, now) }),
    ...(differential && { differential: settled(differential, before?.differential, newest.any, now) }),
    since: before?.since ?? now.toISOString(),
  };
}

function settled(
  asked: NonNullable<PolicyRequest['full']>,
  before: Schedule | undefined,
  newest: Date | undefined,
  now: Date,
): Schedule {
  if (before && printSchedule(before) === printSchedule(asked)) return before;
  const isRecent =
    'every' in asked &&
    newest !== undefined &&
    newest <= now &&
    newest.getTime() > now.getTime() - parseSpan(asked.every)!;
  return { ...asked, from: (isRecent ? newest : now).toISOString() };
}

/** `7d` or `0 3 * * 0 in Europe/Berlin`. */
const printSchedule = (schedule: NonNullable<PolicyRequest['full']>): string =>
  'every' in schedule ? schedule.every : `${schedule.cron} in ${schedule.timeZone}`;

/** One line for people. */
export function printPolicy(policy: Policy | PolicyRequest): string {
  const {
    full,
    differential,
    differentialAfterFull,
    jitter,
    window,
    excludes = [],
    tags = {},
    watch = {},
  } = policy;
  const phrase = (schedule: NonNullable<PolicyRequest['full']>) =>
    `${'every' in schedule ? 'every' : 'at'} ${printSchedule(schedule)}`;
  return [
    ...(policy.paused ? ['paused'] : []),
    full ? `full ${phrase(full)}` : 'a first full only',
    ...(differential ? [`differential ${phrase(differential)}`] : []),
    ...(differentialAfterFull ? ['differential after each full'] : []),
    ...(jitter ? [`up to ${jitter} later`] : []),
    ...(window ? [`between ${window.from} and ${window.to} in ${window.timeZone}`] : []),
    ...(excludes.length > 0 ? [`without ${excludes.join(' ')}`] : []),
    ...(watch.every ? [`watched every ${watch.every}`] : []),
    ...(watch.recoveryPoint ? [`no change older than ${watch.recoveryPoint} without a backup`] : []),
    ...Object.entries(tags).map(([key, value]) => `${key}=${value}`),
  ].join(', ');
}
