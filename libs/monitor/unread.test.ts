import { expect, test } from 'vitest';
import type { Clock } from './clock.ts';
import { Unread } from './unread.ts';

/** Time that goes on when it is told to. */
class Hand implements Clock {
  #now = 0;
  #due: { at: number; callback: () => void }[] = [];

  now = (): number => this.#now;

  after(ms: number, callback: () => void): () => void {
    const one = { at: this.#now + ms, callback };
    this.#due.push(one);
    return () => {
      this.#due = this.#due.filter((other) => other !== one);
    };
  }

  get waiting(): number[] {
    return this.#due.map(({ at }) => at - this.#now);
  }

  pass(ms: number): void {
    this.#now += ms;
    const due = this.#due.filter(({ at }) => at <= this.#now);
    this.#due = this.#due.filter(({ at }) => at > this.#now);
    for (const { callback } of due) callback();
  }
}

const path = (name: string): Buffer => Buffer.from(name);

test('what could not be read is looked at again, later and later; something new soon again', () => {
  const clock = new Hand();
  const told: string[][] = [];
  const unread = new Unread(clock, (paths) => told.push(paths.map(String)));
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    unread.add(path('a'));
    unread.add(path('a'));
    waits.push(...clock.waiting);
    clock.pass(clock.waiting[0]!);
  }
  const minutes = waits.map((ms) => ms / 60_000);
  expect(minutes).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  expect(told).toEqual(Array.from({ length: 8 }, () => ['a']));
  unread.add(path('b'));
  expect(clock.waiting).toEqual([60_000]);
  unread.close();
  expect(clock.waiting).toEqual([]);
});

test('nothing waits where nothing was unread, and there is an end to how much does', () => {
  const clock = new Hand();
  let told = 0;
  const unread = new Unread(clock, (paths) => {
    told = paths.length;
  });
  expect(clock.waiting).toEqual([]);
  for (let i = 0; i < 5000; i++) unread.add(path(`${i}`));
  clock.pass(60_000);
  expect(told).toBe(1000);
});
