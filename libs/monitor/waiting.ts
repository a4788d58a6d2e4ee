/** When something became dirty, and when it was last said to be; milliseconds since 1970. */
export interface Times {
  readonly first: number;
  readonly last: number;
}

export interface Held<T> extends Times {
  readonly value: T;
}

export const both = (a: Times | undefined, b: Times): Times =>
  a
    ? { first: Math.min(a.first, b.first), last: Math.max(a.last, b.last) }
    : { first: b.first, last: b.last };

export const timesUpTo = ({ first, last }: Times, now: number): Times => ({
  first: Math.min(first, now),
  last: Math.min(last, now),
});

/** Things that wait to be taken, each once, with since when and until when it was heard of. */
export class Waiting<T> {
  readonly #merge: (older: T, newer: T) => T;
  readonly #held = new Map<string, Held<T>>();

  constructor(merge: (older: T, newer: T) => T) {
    this.#merge = merge;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Of all of them together; undefined when there are none. */
  get times(): Times | undefined {
    let times: Times | undefined;
    for (const held of this.#held.values()) times = both(times, held);
    return times;
  }

  values(): Iterable<Held<T>> {
    return this.#held.values();
  }

  add(key: string, held: Held<T>): void {
    const before = this.#held.get(key);
    if (!before) return void this.#held.set(key, held);
    const value =
      before.last <= held.last
        ? this.#merge(before.value, held.value)
        : this.#merge(held.value, before.value);
    this.#held.set(key, { value, ...both(before, held) });
  }

  addAll(held: ReadonlyMap<string, Held<T>>): void {
    for (const [key, one] of held) this.add(key, one);
  }

  /** Those that are so, and those whose key `along` gives for one of them; they wait no more. */
  take(
    isSo: (held: Times) => boolean,
    along: (key: string) => Iterable<string> = () => [],
  ): Map<string, Held<T>> {
    const taken = new Map<string, Held<T>>();
    for (const [key, held] of this.#held) {
      if (!isSo(held)) continue;
      taken.set(key, held);
      for (const other of along(key)) {
        const joined = this.#held.get(other);
        if (joined) taken.set(other, joined);
      }
    }
    for (const key of taken.keys()) this.#held.delete(key);
    return taken;
  }

  /** No time is past `now` any more. */
  notAfter(now: number): void {
    for (const [key, held] of this.#held) this.#held.set(key, { ...held, ...timesUpTo(held, now) });
  }

  clear(): void {
    this.#held.clear();
  }
}
