import { expect, test } from 'vitest';
import { untilSettled } from './until-settled.ts';

/** Members that settle when told to, and leave the set then. */
function members(count: number): { settling: Set<Promise<void>>; settle: () => void } {
  const settling = new Set<Promise<void>>();
  const settles = Array.from({ length: count }, () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    settling.add(promise);
    promise.finally(() => settling.delete(promise));
    return resolve;
  });
  return { settling, settle: () => settles.pop()?.() };
}

test('all that settle before the flush is over are not waited for', { timeout: 2000 }, async () => {
  const { settling, settle } = members(1);
  await untilSettled(settling, async () => {
    settle();
    while (settling.size > 0) await Promise.resolve();
  });
  expect(settling.size).toBe(0);
});

test('flushes until the last has settled', { timeout: 2000 }, async () => {
  const { settling, settle } = members(5);
  let flushes = 0;
  await untilSettled(settling, async () => {
    flushes++;
    settle();
  });
  expect(settling.size).toBe(0);
  expect(flushes).toBeGreaterThanOrEqual(5);
});

test('nothing to wait for takes no flush; a flush that fails ends the wait', { timeout: 2000 }, async () => {
  await untilSettled(new Set(), () => expect.unreachable());
  const fails = () => Promise.reject(new Error('full'));
  await expect(untilSettled(members(1).settling, fails)).rejects.toThrow('full');
});
