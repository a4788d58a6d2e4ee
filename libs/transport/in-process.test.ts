import { expect, test } from 'vitest';
import type { CommitMessage } from '../contracts/messages.ts';
import { TmError } from '../model/errors.ts';
import { InProcessTransport } from './in-process.ts';
import type { Topic } from './port.ts';

const message = (n: number) => ({ n }) as unknown as CommitMessage;
const numberOf = (one: unknown): number => (one as { n: number }).n;

function transport(options: { capacity?: number; batch?: number; tries?: number } = {}) {
  const poison: { topic: Topic; n: number; error: unknown }[] = [];
  const onPoison = async (topic: Topic, one: unknown, error: unknown) => {
    poison.push({ topic, n: numberOf(one), error });
  };
  return { poison, stream: new InProcessTransport({ ...options, backoff: async () => {}, onPoison }) };
}

/** Lets all that can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a topic holds no more than its capacity: publish waits while the handler is behind', async () => {
  const { stream } = transport({ capacity: 4, batch: 2 });
  const gates: (() => void)[] = [];
  const handled: number[] = [];
  stream.subscribe('commits', async (messages) => {
    await new Promise<void>((resolve) => gates.push(resolve));
    handled.push(...messages.map(numberOf));
  });
  let published = 0;
  const all = (async () => {
    for (let n = 0; n < 20; n++) {
      await stream.publish('commits', [message(n)]);
      published++;
    }
  })();
  let most = 0;
  while (handled.length < 20) {
    await settle();
    most = Math.max(most, published - handled.length);
    gates.shift()?.();
  }
  await all;
  expect(most).toBe(4);
  expect(handled).toEqual(Array.from({ length: 20 }, (_, n) => n));
  await stream.close();
});

test('one message list larger than the capacity goes through', async () => {
  const { stream } = transport({ capacity: 2, batch: 2 });
  const handled: number[] = [];
  stream.subscribe('commits', async (messages) => {
    handled.push(...messages.map(numberOf));
  });
  await stream.publish(
    'commits',
    Array.from({ length: 9 }, (_, n) => message(n)),
  );
  while (handled.length < 9) await settle();
  expect(handled).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  await stream.close();
});

test('an error that may be retried brings the same messages again, then they are poison one by one', async () => {
  const { stream, poison } = transport({ tries: 3, batch: 8 });
  const seen: number[][] = [];
  stream.subscribe('commits', async (messages) => {
    const numbers = messages.map(numberOf);
    seen.push(numbers);
    if (numbers.includes(1)) throw new TmError('TM1301', 'for a while');
  });
  await stream.publish('commits', [message(1), message(2)]);
  while (poison.length === 0 || seen.flat().at(-1) !== 2) await settle();
  expect(poison.map((one) => one.n)).toEqual([1]);
  expect(seen.filter((numbers) => numbers[0] === 1).length).toBe(3);
  await stream.close();
});

test('any other error is poison at once, and the stream goes on', async () => {
  const { stream, poison } = transport();
  const handled: number[] = [];
  stream.subscribe('commits', async (messages) => {
    if (numberOf(messages[0]) === 1) throw new Error('no');
    handled.push(...messages.map(numberOf));
  });
  for (const n of [1, 2, 3]) await stream.publish('commits', [message(n)]);
  while (handled.length < 2) await settle();
  expect(poison).toMatchObject([{ topic: 'commits', n: 1 }]);
  expect(handled).toEqual([2, 3]);
  await stream.close();
});

test('closing ends publishers that wait, and refuses new ones', async () => {
  const { stream } = transport({ capacity: 1 });
  await stream.publish('commits', [message(1)]);
  const waits = expect(stream.publish('commits', [message(2)])).rejects.toMatchObject({ code: 'TM1508' });
  await settle();
  await stream.close();
  await waits;
  await expect(stream.publish('commits', [message(3)])).rejects.toMatchObject({ code: 'TM1508' });
});
