import type { CollectableStore, ObjectInfo } from './port.ts';

/** Bytes of objects a second; undefined: as fast as it goes. */
export interface StoreLimits {
  readonly upload: number | undefined;
  readonly download: number | undefined;
}

/** Clock, so that tests own it. */
export interface LimitWorld {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** May throw, to end the call that waits. */
  readonly sleep: (milliseconds: number) => Promise<void>;
}

/**
 * One direction. Calls are given their spans of time one after the other: a call of n bytes takes n / rate seconds,
 * whoever else is waiting. Time in which nobody called is not saved up.
 */
class Pace {
  readonly #rate: number | undefined;
  readonly #world: LimitWorld;
  #free = Number.NEGATIVE_INFINITY;

  constructor(rate: number | undefined, world: LimitWorld) {
    this.#rate = rate;
    this.#world = world;
  }

  /** Resolves when `bytes` may count as moved. `since`: when they began to move. */
  async take(bytes: number, since: number): Promise<void> {
    if (this.#rate === undefined || bytes === 0) return;
    this.#free = Math.max(this.#free, since) + (bytes * 1000) / this.#rate;
    const rest = this.#free - this.#world.now();
    if (rest > 0) await this.#world.sleep(rest);
  }
}

/**
 * Slows a store down to bytes a second in each direction. An object goes out as a whole, once its time has passed, so
 * that a limit is kept over seconds, not over milliseconds. Names and listings are free.
 */
export class LimitedStore implements CollectableStore {
  readonly #inner: CollectableStore;
  readonly #world: LimitWorld;
  readonly #up: Pace;
  readonly #down: Pace;

  constructor(inner: CollectableStore, limits: StoreLimits, world: LimitWorld) {
    this.#inner = inner;
    this.#world = world;
    this.#up = new Pace(limits.upload, world);
    this.#down = new Pace(limits.download, world);
  }

  get url(): string {
    return this.#inner.url;
  }

  async create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    await this.#up.take(bytes, this.#world.now());
    return this.#inner.create(name, parts);
  }

  async read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    const since = this.#world.now();
    const bytes = await this.#inner.read(name, range);
    await this.#down.take(bytes.length, since);
    return bytes;
  }

  stat(name: string): Promise<ObjectInfo | undefined> {
    return this.#inner.stat(name);
  }

  list(prefix: string, after?: string): AsyncIterable<ObjectInfo> {
    return this.#inner.list(prefix, after);
  }

  delete(name: string): Promise<void> {
    return this.#inner.delete(name);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
