import { type LimitWorld, Pace, type StoreLimits } from './pace.ts';
import type { CollectableStore, ObjectInfo } from './port.ts';

/**
 * Slows a store down to bytes a second in each direction. An object goes out as a whole, once its time has passed, so
 * that a limit is kept over seconds, not over milliseconds. Names and listings are free.
 */
export class LimitedStore implements CollectableStore {
  readonly #inner: CollectableStore;
  readonly #world: LimitWorld;
  readonly #up: Pace;
  readonly #down: Pace;
  readonly #isFree: boolean;

  constructor(inner: CollectableStore, limits: StoreLimits, world: LimitWorld) {
    this.#inner = inner;
    this.#world = world;
    this.#up = new Pace(limits.upload, world);
    this.#down = new Pace(limits.download, world);
    this.#isFree = limits.download === undefined;
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

  /** Nobody may read past the limit. */
  fileOf(name: string): string | undefined {
    return this.#isFree ? this.#inner.fileOf?.(name) : undefined;
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
