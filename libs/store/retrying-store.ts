import { TmError } from '../model/errors.ts';
import type { CollectableStore, ObjectInfo } from './port.ts';

export interface RetryPolicy {
  /** Milliseconds after a call's begin in which it may be tried again; a listing's count from its last name. */
  readonly deadline: number;
  /** Upper bound of the first delay in milliseconds; it doubles with each try, up to `longestDelay`. */
  readonly firstDelay: number;
  readonly longestDelay: number;
}

/** Clock and chance, so that tests own them. */
export interface RetryWorld {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** 0 <= n < 1. */
  readonly random: () => number;
}

/**
 * Repeats calls whose error says that a retry may help, with exponential backoff and full jitter. A create whose reply
 * was lost gives 'existed' when repeated. It does not end calls that hang: that is the adapter's duty.
 */
export class RetryingStore implements CollectableStore {
  readonly #inner: CollectableStore;
  readonly #policy: RetryPolicy;
  readonly #world: RetryWorld;

  constructor(inner: CollectableStore, policy: RetryPolicy, world: RetryWorld) {
    this.#inner = inner;
    this.#policy = policy;
    this.#world = world;
  }

  get url(): string {
    return this.#inner.url;
  }

  create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    return this.#retry(() => this.#inner.create(name, parts));
  }

  read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    return this.#retry(() => this.#inner.read(name, range));
  }

  fileOf(name: string): string | undefined {
    return this.#inner.fileOf?.(name);
  }

  stat(name: string): Promise<ObjectInfo | undefined> {
    return this.#retry(() => this.#inner.stat(name));
  }

  delete(name: string): Promise<void> {
    return this.#retry(() => this.#inner.delete(name));
  }

  /** Goes on after the last name that was given out. */
  async *list(prefix: string, after?: string): AsyncGenerator<ObjectInfo> {
    let last = after;
    let backoff = this.#backoff();
    while (true) {
      try {
        for await (const info of this.#inner.list(prefix, last)) {
          yield info;
          last = info.name;
          backoff = this.#backoff();
        }
        return;
      } catch (error) {
        await backoff(error);
      }
    }
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #retry<T>(work: () => Promise<T>): Promise<T> {
    const backoff = this.#backoff();
    while (true) {
      try {
        return await work();
      } catch (error) {
        await backoff(error);
      }
    }
  }

  /** Waits before the next try, or throws the error where there is none. */
  #backoff(): (error: unknown) => Promise<void> {
    const { deadline, firstDelay, longestDelay } = this.#policy;
    const { now, sleep, random } = this.#world;
    const end = now() + deadline;
    let bound = firstDelay;
    return async (error) => {
      const delay = random() * Math.min(bound, longestDelay);
      if (!(error instanceof TmError && error.spec.retry) || now() + delay > end) throw error;
      bound *= 2;
      await sleep(delay);
    };
  }
}
