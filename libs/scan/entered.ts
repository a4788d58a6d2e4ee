import type { Stat } from '../posix/index.ts';

const SECOND = 1_000_000_000n;
/** More than a directory is met by chance: by moves, and by others that get the inode of one that was deleted. */
const MOST = 4;

/**
 * How often a walk has entered each directory that changed since the scan began, as it does by a rename. One that is
 * moved may be ahead of the walk again, with all that is below it; were it entered each time, a walk would not end for as
 * long as directories are moved faster than it goes.
 */
export class Entered {
  /** Seconds since 1970. */
  readonly #since: bigint;
  /** By mount with device, since subvolumes of one mount number their inodes alike, and by inode. */
  readonly #times = new Map<bigint, Map<bigint, number>>();

  /** `startedAt`, `granularityNs`: as of the scan. */
  constructor(startedAt: bigint, granularityNs: number) {
    this.#since = (startedAt - BigInt(granularityNs)) / SECOND;
  }

  /** Whether the directory was entered too often to be entered again. */
  tooOften(stat: Stat): boolean {
    if (stat.ctimeSec < this.#since) return false;
    const { ino, mountId, dev } = stat;
    const place = (mountId << 64n) | dev;
    let times = this.#times.get(place);
    if (!times) {
      times = new Map();
      this.#times.set(place, times);
    }
    const before = times.get(ino) ?? 0;
    times.set(ino, before + 1);
    return before >= MOST;
  }
}
