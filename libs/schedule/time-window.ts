import type { TimeWindow } from './policy.ts';

const MINUTE = 60_000;

/** The first minute that is not before `time` and lies in the window; `time` itself when it does. */
export function openingOf({ from, to, timeZone }: TimeWindow, time: Date): Date {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' });
  const isOpen = (at: Date): boolean => {
    const shown = clock.format(at);
    return from < to ? from <= shown && shown < to : from <= shown || shown < to;
  };
  if (isOpen(time)) return time;
  const minute = Math.floor(time.getTime() / MINUTE) + 1;
  // Two days: a window that a zone's clocks skip today is there tomorrow.
  for (let i = 0; i < 2 * 24 * 60; i++) {
    const at = new Date((minute + i) * MINUTE);
    if (isOpen(at)) return at;
  }
  return time;
}
