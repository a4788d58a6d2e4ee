import type { Stat } from '../posix/index.ts';

const SECOND = 1_000_000_000n;
/** More than a directory is met by chance: by moves, and by others that get the inode of one that was deleted. */
const MOST = 4;

/**
 * How often a walk has entered directories that move. One that is moved meanwhile may be ahead of the walk again, with all that
 * is below it; were it entered each time, a walk would not end for as long as directories are moved faster than it goes.
 */
export class Entered {
  readonly #since: bigint;
  /** Of those that have changed since the scan began, by mount and inode. */
  readonly #times = new Map<bigint, Map<bigint, number>>();

  /** `startedAt`, `granularityNs`: as of the scan. */
  constructor(startedAt: bigint, granularityNs: number) {
    this.#since = startedAt - BigInt(granularityNs);
  }

  /**
   * Whether it was met too often. Only what has changed since the scan began is counted, as a directory does by a
   * rename: what hasn't lies where it lay, or its file system gives many directories one inode, or is mounted many times
   * and this kernel doesn't say so.
   */
  tooOften(stat: Stat): boolean {
    if (stat.ctimeSec * SECOND + BigInt(stat.ctimeNsec) < this.#since) return false;
    const { ino, mountId } = stat;
    let times = this.#times.get(mountId);
    if (!times) {
      times = new Map();
      this.#times.set(mountId, times);
    }
    const before = times.get(ino) ?? 0;
    times.set(ino, before + 1);
    return before >= MOST;
  }
}
