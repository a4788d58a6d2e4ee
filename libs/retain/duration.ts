/** A span of the calendar: how much 3 months are depends on where they begin. */
export interface Duration {
  readonly years: number;
  readonly months: number;
  readonly weeks: number;
  readonly days: number;
  readonly hours: number;
}

const FORM = /^(?:(\d{1,4})y)?(?:(\d{1,5})m)?(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?$/;

/** `1y6m2w3d12h`: any of them, in this order; m are months. Undefined for anything else. */
export function parseDuration(text: string): Duration | undefined {
  const match = text === '' ? null : FORM.exec(text);
  if (!match) return undefined;
  const [years, months, weeks, days, hours] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { years, months, weeks, days, hours };
}

/** The moment that lies so long before, by the calendar of UTC; the 31st becomes a shorter month's last day. */
export function before(time: Date, { years, months, weeks, days, hours }: Duration): Date {
  const month = time.getUTCFullYear() * 12 + time.getUTCMonth() - years * 12 - months;
  const lastDay = new Date(Date.UTC(0, month + 1, 0)).getUTCDate();
  const moment = new Date(time);
  moment.setUTCFullYear(Math.floor(month / 12), month % 12, Math.min(time.getUTCDate(), lastDay));
  return new Date(moment.getTime() - ((weeks * 7 + days) * 24 + hours) * 3_600_000);
}
