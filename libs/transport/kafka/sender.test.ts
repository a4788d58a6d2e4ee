import type { Kafka } from 'kafkajs';
import { expect, test } from 'vitest';
import { Room } from './room.ts';
import { Sender } from './sender.ts';

const TOPIC = 'change-events';
const record = (key: string, value = key) => ({ key, headers: {}, value: Buffer.from(value) });

interface Sent {
  readonly topic: string;
  readonly messages: readonly { readonly key: string; readonly partition: number }[];
}

/** A client whose producer answers what `answer` says. */
function senderOf(answer: (sent: Sent) => Promise<unknown> | unknown): Sender {
  const noop = async () => {};
  const kafka = {
    producer: () => ({ connect: noop, disconnect: noop, send: async (sent: Sent) => answer(sent) }),
    admin: () => ({
      connect: noop,
      disconnect: noop,
      fetchTopicMetadata: async () => ({ topics: [{ partitions: Array.from({ length: 8 }) }] }),
    }),
  };
  const connection = { brokers: [], clientId: 'test', giveUpMs: 0 };
  return new Sender(kafka as unknown as Kafka, connection, { messages: 100, bytes: 1e9 });
}

const acknowledge = ({ topic, messages }: Sent) => [
  { topicName: topic, partition: messages[0]!.partition, errorCode: 0 },
];

test.for<[string, (sent: Sent) => unknown]>([
  ['names no partition', () => []],
  ['names another partition', (sent) => acknowledge(sent).map((one) => ({ ...one, partition: 99 }))],
  ['names an error', (sent) => acknowledge(sent).map((one) => ({ ...one, errorCode: 6 }))],
])('an answer that %s is no acknowledgement: TM1515', async ([, answer]) => {
  const sender = senderOf(answer);
  const { sent } = await sender.enter(TOPIC, record('1:0'));
  await expect(sent).rejects.toMatchObject({ code: 'TM1515' });
  await sender.close();
});

test('each request is of one partition, one at a time for each, and what waits meanwhile goes in the next', async () => {
  const requests: Sent[] = [];
  const gates: (() => void)[] = [];
  const sender = senderOf(async (request) => {
    requests.push(request);
    await new Promise<void>((resolve) => gates.push(resolve));
    return acknowledge(request);
  });
  const all: Promise<void>[] = [];
  for (let n = 0; n < 5; n++)
    for (const key of ['1:0', '2:0', '3:0'])
      all.push((await sender.enter(TOPIC, record(key, `${key}/${n}`))).sent);
  const done = Promise.all(all);
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) {
    await new Promise((resolve) => setImmediate(resolve));
    for (const open of gates.splice(0)) open();
  }
  for (const { messages } of requests)
    expect(new Set(messages.map(({ partition }) => partition)).size).toBe(1);
  const partitions = new Set(requests.map(({ messages }) => messages[0]!.partition));
  expect(requests.length).toBeLessThanOrEqual(2 * partitions.size);
  expect(requests.reduce((sum, { messages }) => sum + messages.length, 0)).toBe(15);
  await sender.close();
});

test('room is given in the order of asking, bounded in messages and bytes, and refused once closed', async () => {
  const room = new Room(3, 100);
  const entered: number[] = [];
  const ask = (bytes: number) => room.enter(bytes).then(() => entered.push(bytes));
  await ask(60);
  const large = ask(50);
  const small = ask(1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(entered).toEqual([60]);
  room.leave(60);
  await Promise.all([large, small]);
  expect(entered).toEqual([60, 50, 1]);
  await ask(2);
  const refused = expect(ask(3)).rejects.toMatchObject({ code: 'TM1508' });
  room.close();
  await refused;
  await expect(room.enter(1)).rejects.toMatchObject({ code: 'TM1508' });
  const empty = new Room(3, 100);
  await empty.enter(1000);
});
