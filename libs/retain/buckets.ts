export const BUCKETS = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Bucket = (typeof BUCKETS)[number];

const DAY_MS = 86_400_000;

/** Names the hour, day, week (from Monday), month and year in which a moment falls, by the clocks of a time zone. */
export function bucketsOf(timeZone: string): (time: Date) => Readonly<Record<Bucket, string>> {
  const format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
  });
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const of = (type: Intl.DateTimeFormatPartTypes) => parts.get(type)!;
    const [year, month, day, hour] = [of('year'), of('month'), of('day'), of('hour')];
    const days = Date.UTC(year, month - 1, day) / DAY_MS;
    return {
      hourly: `${year}-${month}-${day} ${hour}`,
      daily: `${year}-${month}-${day}`,
      weekly: String(Math.floor((days + 3) / 7)), // 1970 began on a Thursday
      monthly: `${year}-${month}`,
      yearly: String(year),
    };
  };
}
