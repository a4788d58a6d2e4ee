import { describe, expect, it } from 'vitest';
import { TmError } from '../model/errors.ts';
import { FaultyStore, faults } from './faulty-store.ts';
import { MemoryStore } from './memory/memory-store.ts';
import { RetryingStore } from './retrying-store.ts';
import { storeSuite } from './store.suite.ts';

/** A clock that moves by what is slept, and by the fall of `random` always to its upper end. */
function world(random = 1) {
  const slept: number[] = [];
  const sum = (): number => slept.reduce((total, delay) => total + delay, 0);
  return {
    slept,
    now: sum,
    sleep: async (delay: number) => {
      slept.push(delay);
    },
    random: () => random,
  };
}

const POLICY = { deadline: 10_000, firstDelay: 100, longestDelay: 1_000 };
const BYTES = [Buffer.from('bytes')];

storeSuite('retrying over memory', async () => ({
  store: new RetryingStore(new MemoryStore(), POLICY, world()),
}));

describe('retrying store', () => {
  it('survives failures, waiting twice as long each time up to a bound', async () => {
    const faulty = new FaultyStore(new MemoryStore()).inject('create', faults.failing(), { times: 6 });
    const time = world();
    expect(await new RetryingStore(faulty, POLICY, time).create('a', BYTES)).toBe('created');
    expect(time.slept).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(faulty.calls('create')).toBe(7);
  });

  it('spreads its delays by chance', async () => {
    const faulty = new FaultyStore(new MemoryStore()).inject('stat', faults.failing(), { times: 2 });
    const time = world(0.25);
    await new RetryingStore(faulty, POLICY, time).stat('a');
    expect(time.slept).toEqual([25, 50]);
  });

  it('gives the last error once the deadline is over', async () => {
    const faulty = new FaultyStore(new MemoryStore()).inject('read', faults.unreachable(), {
      times: Infinity,
    });
    const time = world();
    const read = new RetryingStore(faulty, POLICY, time).read('a');
    await expect(read).rejects.toEqual(expect.objectContaining({ code: 'TM1201' }));
    expect(time.now()).toBeLessThanOrEqual(POLICY.deadline);
    expect(time.now()).toBeGreaterThan(POLICY.deadline - POLICY.longestDelay);
  });

  it('does not repeat what a retry cannot help', async () => {
    const time = world();
    const damaged = { kind: 'fail', error: new TmError('TM1206') } as const;
    const faulty = new FaultyStore(new MemoryStore()).inject('read', damaged);
    const store = new RetryingStore(faulty, POLICY, time);
    await expect(store.read('a')).rejects.toBe(damaged.error);
    faulty.inject('delete', { kind: 'fail', error: new TypeError('a bug') });
    await expect(store.delete('a')).rejects.toThrow(TypeError);
    expect(time.slept).toEqual([]);
  });

  it('survives a lost reply: the object exists once', async () => {
    const faulty = new FaultyStore(new MemoryStore()).inject('create', faults.lostReply());
    const store = new RetryingStore(faulty, POLICY, world());
    expect(await store.create('a', BYTES)).toBe('existed');
    expect(await store.read('a')).toEqual(BYTES[0]);
  });

  it('goes on with a listing that breaks off, naming nothing twice', async () => {
    const memory = new MemoryStore();
    for (const name of ['a', 'b', 'c']) await memory.create(name, BYTES);
    const faulty = new FaultyStore(memory)
      .inject('list', faults.lostReply())
      .inject('list', faults.failing(), { nth: 2 });
    const found: string[] = [];
    for await (const { name } of new RetryingStore(faulty, POLICY, world()).list('')) found.push(name);
    expect(found).toEqual(['a', 'b', 'c']);
    expect(faulty.calls('list')).toBe(3);
  });
});
