import { BusyError } from '../http/problem.ts';

const COME_AGAIN_SECONDS = 1;

/** Bytes that requests may hold in memory, all together. */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Takes the bytes for the work's duration. Throws TM1808 (503) where they are not there. */
  async during<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (bytes > this.#left) throw new BusyError(503, COME_AGAIN_SECONDS, 'no memory left for more uploads');
    this.#left -= bytes;
    try {
      return await work();
    } finally {
      this.#left += bytes;
    }
  }
}
