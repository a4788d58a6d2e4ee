import { expect, test, vi } from 'vitest';
import { readAhead } from './pages.ts';

/** Pages 0, 1, … each given when it is released; `asked` counts how many were wished for so far. */
function source(last: number, fails = -1) {
  const pages = Array.from({ length: last + 1 }, () => Promise.withResolvers<void>());
  const state = { asked: 0, ended: false };
  async function* numbers() {
    try {
      for (const [i, page] of pages.entries()) {
        state.asked++;
        await page.promise;
        if (i === fails) throw new Error(`page ${i}`);
        yield i;
      }
    } finally {
      state.ended = true;
    }
  }
  return { state, numbers, release: (i: number) => pages[i]!.resolve() };
}

test('pages come in order, none twice, none missing, whatever the consumer does', async () => {
  for (const count of [0, 1, 2, 50]) {
    const { numbers, release, state } = source(20);
    for (let i = 0; i <= 20; i++) release(i);
    const seen: number[] = [];
    for await (const page of readAhead(numbers(), count)) seen.push(page);
    expect(seen).toEqual(Array.from({ length: 21 }, (_, i) => i));
    expect(state.ended).toBe(true);
  }
});

test('so many are fetched before they are asked for, and no more', async () => {
  const { numbers, release, state } = source(20);
  for (let i = 0; i <= 20; i++) release(i);
  const pages = readAhead(numbers(), 2);
  expect((await pages.next()).value).toBe(0);
  await vi.waitUntil(() => state.asked === 3);
  await new Promise(setImmediate);
  expect(state.asked).toBe(3);
  expect((await pages.next()).value).toBe(1);
  await vi.waitUntil(() => state.asked === 4);
  await pages.return(undefined);
});

test('a failure comes after the pages before it, and is nobody else’s', async () => {
  const { numbers, release } = source(20, 2);
  for (let i = 0; i <= 20; i++) release(i);
  const pages = readAhead(numbers(), 5);
  await new Promise(setImmediate);
  expect((await pages.next()).value).toBe(0);
  expect((await pages.next()).value).toBe(1);
  await expect(pages.next()).rejects.toThrow('page 2');
});

test('who leaves early does not wait for what is under way', async () => {
  const { numbers, release, state } = source(20);
  release(0);
  for await (const page of readAhead(numbers(), 3)) {
    expect(page).toBe(0);
    break;
  }
  expect(state.ended).toBe(false);
  for (let i = 1; i <= 20; i++) release(i);
  await vi.waitUntil(() => state.ended);
});
