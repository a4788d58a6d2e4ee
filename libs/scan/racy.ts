import { ctimeNsec, ctimeSec, mtimeNsec, mtimeSec } from './stat-record.ts';

const SECOND = 1_000_000_000n;
const DEFAULT_GRANULARITY_NS = 10_000_000;
/** Where times are whole seconds, the file system may keep no finer ones; FAT's are even. */
const COARSE_SEC = 2;
/** Times of modification further ahead of the scan were set by hand: no later change gets them by itself. */
const AHEAD_SEC = 60;

/**
 * Tells entries whose timestamps are so recent that a change after the scan may leave them as they are. They are not
 * to be trusted in the new state (as in git's index).
 */
export class RacyRule {
  readonly #sec: number;
  readonly #nsec: number;

  /** `startedAt`: ns since 1970, before anything was read. */
  constructor(startedAt: bigint, granularityNs: number = DEFAULT_GRANULARITY_NS) {
    const limit = startedAt - BigInt(granularityNs);
    this.#sec = Number(limit / SECOND);
    this.#nsec = Number(limit % SECOND);
  }

  /** Of the stat record at word `at`. */
  applies(words: Int32Array, at: number): boolean {
    if (this.#isRecent(ctimeSec(words, at), ctimeNsec(words, at))) return true;
    const modified = mtimeSec(words, at);
    return this.#isRecent(modified, mtimeNsec(words, at)) && modified <= this.#sec + AHEAD_SEC;
  }

  #isRecent(sec: number, nsec: number): boolean {
    if (nsec === 0) return sec >= this.#sec - COARSE_SEC;
    return sec > this.#sec || (sec === this.#sec && nsec >= this.#nsec);
  }
}
