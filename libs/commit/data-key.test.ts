import { expect, test } from 'vitest';
import { newDomain } from '../blocks/keys.ts';
import { DataKey } from './data-key.ts';
import type { WrappedKey } from './pack-intake.ts';

const DAY = 24 * 60 * 60 * 1000;

async function rig(put?: (key: WrappedKey) => Promise<void>) {
  const clock = { now: 0 };
  const stored: WrappedKey[] = [];
  const domain = await newDomain('d', Buffer.alloc(32));
  const key = new DataKey(domain, put ?? (async (one) => void stored.push(one)), () => clock.now);
  return { clock, stored, key };
}

test('ranges of one key do not overlap, and the key is durable before any is handed out', async () => {
  const { key, stored } = await rig();
  const [a, b] = [await key.range(), await key.range()];
  expect(a.id).toEqual(b.id);
  expect(a.endFrameNo).toBeLessThanOrEqual(b.firstFrameNo);
  expect(stored.map(({ id }) => id)).toEqual([a.id]);
  expect((await key.wrapped(a.id)).wrapped).toEqual(stored[0]!.wrapped);
});

test('after a day another key takes over; the old one can still be put into packs', async () => {
  const { key, clock } = await rig();
  const before = await key.range();
  clock.now = DAY - 1;
  expect((await key.range()).id).toEqual(before.id);
  clock.now = DAY;
  expect((await key.range()).id).not.toEqual(before.id);
  expect((await key.wrapped(before.id)).id).toEqual(before.id);
});

test('a process that lives for long runs out of ranges before numbers lose their exactness', async () => {
  const { key, stored } = await rig();
  const numbers = new Set<string>();
  for (let i = 0; i < 9000; i++) {
    const { id, firstFrameNo, endFrameNo } = await key.range();
    expect(Number.isSafeInteger(endFrameNo - 1)).toBe(true);
    numbers.add(`${id.toString('hex')} ${firstFrameNo}`);
  }
  expect(numbers.size).toBe(9000);
  expect(stored.length).toBe(2);
});

test('frames sealed at once, before and after a day, carry keys of their time and no number twice', async () => {
  const { key, clock } = await rig();
  const seal = (text: string) => key.seal(Buffer.from(text), 3);
  const frames = await Promise.all(['a', 'b', 'c'].map(seal));
  clock.now = DAY;
  frames.push(...(await Promise.all(['d', 'e'].map(seal))));
  const headers = frames.map(({ bytes }) => bytes.subarray(0, 48).toString('hex'));
  expect(new Set(headers).size).toBe(frames.length);
  expect(new Set(frames.map(({ keyId }) => keyId.toString('hex'))).size).toBe(2);
});

test('a key that could not be stored is not used; the next try makes another', async () => {
  let failures = 1;
  const { key } = await rig(async () => {
    if (failures-- > 0) throw new Error('store away');
  });
  await expect(key.range()).rejects.toThrow('store away');
  await expect(key.range()).resolves.toBeDefined();
});

test('a key of another process is refused', async () => {
  const { key } = await rig();
  await expect(key.wrapped(Buffer.alloc(16))).rejects.toMatchObject({ code: 'TM1404' });
});
