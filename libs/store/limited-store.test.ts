import { describe, expect, it } from 'vitest';
import { LimitedStore } from './limited-store.ts';
import { MemoryStore } from './memory/memory-store.ts';
import { storeSuite } from './store.suite.ts';

/** A clock that moves by what is slept. */
function world() {
  const time = {
    at: 0,
    now: () => time.at,
    sleep: async (delay: number) => {
      time.at += delay;
    },
  };
  return time;
}

storeSuite('limited over memory', async () => ({
  store: new LimitedStore(new MemoryStore(), { upload: 1e6, download: 1e6 }, world()),
}));

describe('limited store', () => {
  const parts = [Buffer.alloc(600, 1), Buffer.alloc(400, 2)];

  it('lets an object out when its time has passed, and none before', async () => {
    const time = world();
    const inner = new MemoryStore();
    const store = new LimitedStore(inner, { upload: 100, download: undefined }, time);
    await store.create('a', parts);
    expect(time.at).toBe(10_000);
    await store.create('b', parts);
    expect(time.at).toBe(20_000);
    await store.read('a');
    expect(time.at).toBe(20_000);
  });

  it('gives no file away that could be read past the limit', () => {
    const inner = Object.assign(new MemoryStore(), { fileOf: (name: string) => `/store/${name}` });
    const limited = (download: number | undefined) =>
      new LimitedStore(inner, { upload: 100, download }, world()).fileOf('a');
    expect(limited(1e9)).toBeUndefined();
    expect(limited(undefined)).toBe('/store/a');
  });

  it('shares the rate among calls at once', async () => {
    const starts: number[] = [];
    const time = { now: () => 0, sleep: async (delay: number) => void starts.push(delay) };
    const store = new LimitedStore(new MemoryStore(), { upload: 100, download: undefined }, time);
    await Promise.all(['a', 'b', 'c'].map((name) => store.create(name, parts)));
    expect(starts).toEqual([10_000, 20_000, 30_000]);
  });

  it('counts what was read, and time that passed meanwhile', async () => {
    const time = world();
    const inner = new MemoryStore();
    await inner.create('a', parts);
    const store = new LimitedStore(inner, { upload: undefined, download: 1000 }, time);
    await store.read('a', { offset: 100, length: 500 });
    expect(time.at).toBe(500);
    time.at += 60_000; // idle time is not saved up
    await store.read('a');
    await store.read('a');
    expect(time.at).toBe(62_500);
  });

  it('creates nothing when its wait is ended', async () => {
    const inner = new MemoryStore();
    const sleep = async () => {
      throw new Error('interrupted');
    };
    const store = new LimitedStore(inner, { upload: 1, download: undefined }, { now: () => 0, sleep });
    await expect(store.create('a', parts)).rejects.toThrow('interrupted');
    expect(await inner.stat('a')).toBeUndefined();
  });
});
