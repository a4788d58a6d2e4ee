import { describe, expect, it } from 'vitest';
import { FaultyStore, faults } from './faulty-store.ts';
import { MemoryStore } from './memory/memory-store.ts';
import { storeSuite } from './store.suite.ts';

storeSuite('faulty without faults', async () => ({ store: new FaultyStore(new MemoryStore()) }));

const BYTES = [Buffer.from('bytes')];

describe('faulty store', () => {
  it('fails the nth call of a kind under a prefix, and no other', async () => {
    const store = new FaultyStore(new MemoryStore()).inject('create', faults.full(), {
      nth: 2,
      prefix: 'packs/',
    });
    await store.create('packs/a', BYTES);
    await store.create('journal/a', BYTES);
    await expect(store.create('packs/b', BYTES)).rejects.toEqual(expect.objectContaining({ code: 'TM1204' }));
    expect(await store.stat('packs/b')).toBeUndefined();
    expect(await store.create('packs/b', BYTES)).toBe('created');
  });

  it('loses the reply of what had its effect', async () => {
    const store = new FaultyStore(new MemoryStore()).inject('create', faults.lostReply());
    await expect(store.create('a', BYTES)).rejects.toEqual(expect.objectContaining({ code: 'TM1211' }));
    expect(await store.read('a')).toEqual(BYTES[0]);
  });

  it('gives wrong and short bytes, and the right ones after that', async () => {
    const store = new FaultyStore(new MemoryStore());
    await store.create('a', BYTES);
    store.inject('read', faults.flippedBit(1)).inject('read', faults.shortBytes(2), { nth: 2 });
    expect(await store.read('a')).toEqual(Buffer.from('`ytes'));
    expect(await store.read('a')).toEqual(Buffer.from('byt'));
    expect(await store.read('a')).toEqual(BYTES[0]);
  });

  it('stalls a call until it is released', async () => {
    const stall = faults.stall();
    const store = new FaultyStore(new MemoryStore()).inject('create', stall.fault);
    const created = store.create('a', BYTES);
    await stall.reached;
    expect(await store.stat('a')).toBeUndefined();
    stall.release();
    expect(await created).toBe('created');
  });
});
