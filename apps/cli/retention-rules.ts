import { TmError } from '../../libs/model/errors.ts';
import { parseDuration } from '../../libs/retain/duration.ts';
import type { RetentionRules } from '../../libs/retain/plan-expiry.ts';
import { parseTags } from './tags.ts';

export interface RuleOptions {
  readonly keepLast?: string;
  readonly keepHourly?: string;
  readonly keepDaily?: string;
  readonly keepWeekly?: string;
  readonly keepMonthly?: string;
  readonly keepYearly?: string;
  readonly keepWithin?: string;
  readonly keepTag?: string[];
}

/** Rules as given; 0 is as good as not given. Without any rule nothing may expire, so that is wrong usage. */
export function retentionRules(options: RuleOptions): RetentionRules {
  const last = countOf('--keep-last', options.keepLast);
  const buckets = {
    hourly: countOf('--keep-hourly', options.keepHourly),
    daily: countOf('--keep-daily', options.keepDaily),
    weekly: countOf('--keep-weekly', options.keepWeekly),
    monthly: countOf('--keep-monthly', options.keepMonthly),
    yearly: countOf('--keep-yearly', options.keepYearly),
  };
  const within = withinOf(options.keepWithin);
  // Each by itself: one key may be given with several values.
  const tags = (options.keepTag ?? []).flatMap((pair) => Object.entries(parseTags([pair])));
  const any = last > 0 || Object.values(buckets).some((count) => count > 0) || within || tags.length > 0;
  if (!any) throw new TmError('TM1001', 'say what to keep: at least one of the --keep-… options');
  return { last, buckets, ...(within ? { within } : {}), tags };
}

function countOf(option: string, value: string | undefined): number {
  if (value === undefined) return 0;
  if (value === 'unlimited') return Number.POSITIVE_INFINITY;
  if (!/^\d{1,9}$/.test(value))
    throw new TmError('TM1002', `${option} ${value}: a whole number or \`unlimited\` is expected`);
  return Number(value);
}

function withinOf(text: string | undefined): RetentionRules['within'] {
  if (text === undefined) return undefined;
  const duration = parseDuration(text);
  if (!duration || Object.values(duration).every((part) => part === 0))
    throw new TmError(
      'TM1002',
      `--keep-within ${text}: expected is a span such as 1y6m, 2w, 7d or 36h (m: months)`,
    );
  return { text, duration };
}
