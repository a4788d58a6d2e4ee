import { describe, expect, it } from 'vitest';
import { FaultyStore, faults } from './faulty-store.ts';
import { MemoryStore } from './memory/memory-store.ts';
import { createStoreIdentity, readStoreIdentity, STORE_IDENTITY_NAME } from './store-identity.ts';

const ID = '5f0c3c0e-6a44-4b8e-9a53-3b1b0a0d7c11';
const NOW = new Date('2026-11-23T10:15:00Z');
const code = (expected: string) => expect.objectContaining({ code: expected });
const GOLDEN =
  '{"created":"2026-11-23T10:15:00.000Z","format":1,"limits":{"frameBytes":8388608,"packBytes":67108864},' +
  `"storeId":"${ID}"}\n`;

const storeWith = async (text: string): Promise<MemoryStore> => {
  const store = new MemoryStore();
  await store.create(STORE_IDENTITY_NAME, [Buffer.from(text)]);
  return store;
};

describe('store identity', () => {
  it('has golden bytes', async () => {
    const store = new MemoryStore();
    const made = await createStoreIdentity(store, ID, NOW);
    expect((await store.read(STORE_IDENTITY_NAME)).toString()).toBe(GOLDEN);
    expect(await readStoreIdentity(store)).toEqual(made);
    expect(made.storeId).toBe(ID);
  });

  it('is undefined where there is no store, and an error where the store cannot say', async () => {
    expect(await readStoreIdentity(new MemoryStore())).toBeUndefined();
    const faulty = new FaultyStore(new MemoryStore()).inject('read', faults.unreachable());
    await expect(readStoreIdentity(faulty)).rejects.toEqual(code('TM1201'));
  });

  it('keeps fields of a later version', async () => {
    const store = await storeWith(GOLDEN.replace('{"created"', '{"colour":"blue","created"'));
    expect(await readStoreIdentity(store)).toMatchObject({ storeId: ID, colour: 'blue' });
  });

  it('refuses a newer major format, whatever else it holds', async () => {
    await expect(readStoreIdentity(await storeWith('{"format":2,"id":7}'))).rejects.toEqual(code('TM1209'));
  });

  it('says TM1206 for what is damaged', async () => {
    const texts = [
      '',
      '{',
      'null',
      '[]',
      '{"format":0}',
      '{"format":"1"}',
      GOLDEN.slice(0, -3),
      '{"format":1}',
    ];
    for (const text of [...texts, GOLDEN.replace('5f0c', 'xf0c'), GOLDEN.replace('8388608', '-1')]) {
      await expect(readStoreIdentity(await storeWith(text)), text).rejects.toEqual(code('TM1206'));
    }
  });

  it('is never replaced by another', async () => {
    const store = await storeWith(GOLDEN);
    await createStoreIdentity(store, ID, NOW);
    await expect(createStoreIdentity(store, ID, new Date(0))).rejects.toEqual(code('TM1207'));
    expect((await store.read(STORE_IDENTITY_NAME)).toString()).toBe(GOLDEN);
  });
});
