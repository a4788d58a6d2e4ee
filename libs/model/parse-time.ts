const FORM = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?(Z|[+-]\d\d:?\d\d)?)?$/;

/** What a person may write for a moment; kept next to the parser so that messages and help say the same. */
export const TIME_FORMS =
  '2026-11-24T10:15:00Z, 2026-11-24T10:15:00+01:00, or in local time 2026-11-24T10:15:00, "2026-11-24 10:15", 2026-11-24 (its first moment)';

/**
 * A moment in one of TIME_FORMS; undefined for anything else, days that no calendar has included. Without a zone it is
 * local time of this process.
 */
export function parseTime(text: string): Date | undefined {
  const match = FORM.exec(text.trim());
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const ms = Number((match[7] ?? '').padEnd(3, '0'));
  const calendar = new Date(Date.UTC(year, month - 1, day, hour, minute, second, ms));
  const real = calendar.getUTCMonth() === month - 1 && calendar.getUTCDate() === day;
  if (!real || year < 100 || hour > 23 || minute > 59 || second > 59) return undefined;
  const zone = match[8];
  if (!zone) return new Date(year, month - 1, day, hour, minute, second, ms);
  return new Date(calendar.getTime() - offsetOf(zone) * 60_000);
}

/** Minutes east of UTC. */
function offsetOf(zone: string): number {
  if (zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return zone.startsWith('-') ? -minutes : minutes;
}
