import {
  type CallOptions,
  type ClientWorld,
  type HttpClient,
  isPassing,
  REAL_WORLD,
} from '../http/client.ts';
import type { Route } from '../http/route.ts';
import { TmError } from '../model/errors.ts';

export interface WritersOptions {
  readonly clients: readonly HttpClient[];
  /** Milliseconds that one call may take in all, over all writers. */
  readonly deadline?: number;
  readonly signal?: AbortSignal | undefined;
  /** Clock, sleep and chance, so that tests own them. */
  readonly world?: ClientWorld;
}

const DEFAULT_DEADLINE = 300_000;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5000;

/**
 * Several storage writers as one: calls go round, and one that is away, busy or cut off is followed by the next. All of
 * the writers' routes may come twice. Once none has taken a call it is tried again, with jitter, until the deadline.
 */
export class Writers {
  readonly #options: WritersOptions;
  #next = 0;

  constructor(options: WritersOptions) {
    if (options.clients.length === 0) throw new TmError('TM1805', 'no storage writer is known');
    this.#options = options;
  }

  async call<R extends Route>(
    route: R,
    input: Parameters<typeof HttpClient.prototype.call<R>>[1],
    options: Omit<CallOptions, 'signal' | 'deadline'> = {},
  ): ReturnType<typeof HttpClient.prototype.call<R>> {
    const { clients, deadline = DEFAULT_DEADLINE, signal, world = REAL_WORLD } = this.#options;
    const end = world.now() + deadline;
    for (let bound = FIRST_DELAY; ; bound = Math.min(bound * 2, LONGEST_DELAY)) {
      let failure: unknown;
      for (const _ of clients) {
        const client = clients[this.#next++ % clients.length]!;
        try {
          return await client.call(route, input, { ...options, deadline: 0, signal });
        } catch (error) {
          if (!isPassing(error)) throw error;
          failure = error;
        }
      }
      const delay = world.random() * bound;
      if (world.now() + delay > end) throw failure;
      await world.sleep(delay, signal).catch(() => {
        throw new TmError('TM1508');
      });
    }
  }
}
