import type { Stat } from '../posix/index.ts';

const NS = 1_000_000_000n;
/** Times of modification further ahead of the scan were set by somebody: no clock gave them. */
const AHEAD_NS = 60n * NS;

/** A moment as a stat has it: of most files the seconds alone tell on which side of another one it lies. */
class Moment {
  readonly #sec: bigint;
  readonly #nsec: number;

  /** Since 1970. */
  constructor(ns: bigint) {
    this.#nsec = Number(((ns % NS) + NS) % NS);
    this.#sec = (ns - BigInt(this.#nsec)) / NS;
  }

  isAfter(sec: bigint, nsec: number): boolean {
    return sec < this.#sec || (sec === this.#sec && nsec < this.#nsec);
  }

  isBefore(sec: bigint, nsec: number): boolean {
    return sec > this.#sec || (sec === this.#sec && nsec > this.#nsec);
  }
}

/** Times that lie too near to (or after) the scan's start say nothing of later changes within the clock's tick. */
export class RacyTimes {
  readonly #from: Moment;
  readonly #to: Moment;

  constructor(startedAtNs: bigint, granularityNs: bigint) {
    this.#from = new Moment(startedAtNs - granularityNs);
    this.#to = new Moment(startedAtNs + AHEAD_NS);
  }

  has(stat: Pick<Stat, 'ctimeSec' | 'ctimeNsec' | 'mtimeSec' | 'mtimeNsec'>): boolean {
    if (!this.#from.isAfter(stat.ctimeSec, stat.ctimeNsec)) return true;
    if (this.#from.isAfter(stat.mtimeSec, stat.mtimeNsec)) return false;
    return !this.#to.isBefore(stat.mtimeSec, stat.mtimeNsec);
  }
}
