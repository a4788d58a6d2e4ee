import { describe, expect, it } from 'vitest';
import { FaultyStore, faults } from './faulty-store.ts';
import { MemoryStore } from './memory/memory-store.ts';
import { claimOwner, currentOwner, isDisowned, listOwners } from './owner.ts';

const ONE = '11111111-1111-4111-8111-111111111111';
const TWO = '22222222-2222-4222-8222-222222222222';
const now = new Date('2026-11-23T10:15:00Z');
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('owner', () => {
  it('has golden bytes', async () => {
    const store = new MemoryStore();
    await claimOwner(store, { registryId: ONE, takenIn: { w2: 7, w1: 300 }, now });
    expect((await store.read('owner/0000000000000001')).toString()).toBe(
      `{"generation":1,"registryId":"${ONE}","takenIn":{"w1":300,"w2":7},"time":"2026-11-23T10:15:00.000Z"}\n`,
    );
  });

  it('is the highest generation', async () => {
    const store = new MemoryStore();
    expect(await currentOwner(store)).toBeUndefined();
    for (let i = 0; i < 17; i++) await claimOwner(store, { registryId: i % 2 ? TWO : ONE, takenIn: {}, now });
    expect(await currentOwner(store)).toMatchObject({ registryId: ONE, generation: 17 });
    expect((await listOwners(store)).map(({ generation }) => generation)).toEqual(
      Array.from({ length: 17 }, (_, i) => i + 1),
    );
  });

  it('survives two registries that claim at once: one of them learns that it lost', async () => {
    const stall = faults.stall();
    const memory = new MemoryStore();
    const slow = new FaultyStore(memory).inject('create', stall.fault);
    const late = claimOwner(slow, { registryId: ONE, takenIn: {}, now });
    await stall.reached;
    await claimOwner(memory, { registryId: TWO, takenIn: {}, now });
    stall.release();
    await expect(late).rejects.toEqual(code('TM1207'));
    expect(await currentOwner(memory)).toMatchObject({ registryId: TWO, generation: 1 });
  });

  it('never passes over a damaged newest claim', async () => {
    for (const text of [
      '',
      '{}',
      `{"generation":2,"registryId":"${TWO}","takenIn":{},"time":"2026-11-23T10:15:00.000Z"}`,
    ]) {
      const store = new MemoryStore();
      await claimOwner(store, { registryId: ONE, takenIn: {}, now });
      await store.create('owner/0000000000000003', [Buffer.from(text)]);
      await store.create('owner/zz', [Buffer.from('no claim')]);
      await expect(currentOwner(store)).rejects.toEqual(code('TM1206'));
      await expect(listOwners(store)).rejects.toEqual(code('TM1206'));
    }
  });

  it('disowns what an older generation wrote after a newer one had taken the journal in', () => {
    const owner = (generation: number, takenIn: Record<string, number>) => ({
      registryId: ONE,
      generation,
      takenIn,
      time: now.toISOString(),
    });
    const owners = [owner(1, {}), owner(2, { w: 5 }), owner(3, { w: 9, v: 2 })];
    const disowned = (writer: string, number: number, ownerGeneration: number): boolean =>
      isDisowned({ writer, number, ownerGeneration }, owners);
    expect(disowned('w', 5, 1)).toBe(false);
    expect(disowned('w', 6, 1)).toBe(true);
    expect(disowned('w', 6, 2)).toBe(false);
    expect(disowned('v', 1, 1)).toBe(true);
    expect(disowned('v', 2, 2)).toBe(false);
    expect(disowned('w', 10, 3)).toBe(false);
  });
});
