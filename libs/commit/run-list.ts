import type { RunRef } from '../registry/port.ts';

/** Runs that a backup's list may hold; more are merged (1-architecture, "Store layout"). */
export const MAX_RUNS = 8;

/**
 * Plans the run that a new backup adds to its base's list: how many of the old runs stay, and from which seq the new
 * run counts. While there is room the new run holds the backup's own records only; when the list is full, the tail
 * whose runs are no larger than what follows them is written anew as one (so that a record is rewritten O(log n) times).
 */
export function planRun(base: readonly RunRef[], newRecords: number): { keep: number; fromSeq: number } {
  let keep = base.length;
  if (keep >= MAX_RUNS) {
    let size = newRecords;
    while (keep > 0 && (base[keep - 1]!.records <= 2 * size || keep >= MAX_RUNS)) {
      keep--;
      size += base[keep]!.records;
    }
  }
  const fromSeq = keep === 0 ? 0 : base[keep - 1]!.toSeq;
  return { keep, fromSeq };
}
