import { expect, test } from 'vitest';
import type { CommitMessage } from '../contracts/messages.ts';
import { InProcessTransport } from './in-process.ts';
import { transportSuite } from './transport.suite.ts';

transportSuite(
  'in process',
  async (options) => new InProcessTransport({ backoff: async () => {}, ...options }),
  {
    redelivery:
      'its messages are in the memory of the process, and end with it and with the backup that it makes',
    pause: 'it has one queue a topic, whose order is that of all keys',
  },
);

const message = (n: number) => ({ n }) as unknown as CommitMessage;
const numberOf = (one: unknown): number => (one as { n: number }).n;

const transport = (options: { capacity: number; batch: number }) =>
  new InProcessTransport({ ...options, backoff: async () => {}, onPoison: async () => {} });

/** Lets all that can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a topic holds no more than its capacity: publish waits while the handler is behind', async () => {
  const stream = transport({ capacity: 4, batch: 2 });
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
  const stream = transport({ capacity: 2, batch: 2 });
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
