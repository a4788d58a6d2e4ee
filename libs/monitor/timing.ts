import type { Timing } from './monitor.ts';

const SETTLE_MS = 500;
const LEAST_BOUND_MS = 10_000;
const FIXED = { maxPaths: 100_000, heartbeatMs: 30_000, blindMs: 600_000 } as const;

/** All times of a watch that makes a micro-differential every `everyMs`; `settleMs`: half a second, or less where that is less. */
export const timingFor = (everyMs: number, settleMs: number = Math.min(SETTLE_MS, everyMs)): Timing => ({
  ...FIXED,
  everyMs,
  settleMs,
  boundMs: Math.max(10 * everyMs, LEAST_BOUND_MS),
});
