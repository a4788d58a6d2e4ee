const UNITS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 } as const;

/** Milliseconds of `500ms`, `5s`, `2min` or `1h`; undefined for anything else, and for nothing at all. */
export function parseShortSpan(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,6})(ms|s|min|h)$/.exec(text) ?? [];
  const ms = Number(number) * UNITS[unit as keyof typeof UNITS];
  return ms > 0 ? ms : undefined;
}
