import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { expect, test } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import { KafkaRig } from './kafka-rig.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka());
const GROUP = 'test.stop.change-events';

/** A member of the group that is gone without a word, as a killed process is. */
async function deadMember(): Promise<void> {
  const sockets: Socket[] = [];
  let isDead = false;
  const kafka = new Kafka({
    brokers: rig.cluster.internalBrokers,
    logLevel: logLevel.NOTHING,
    socketFactory: ({ host, port, onConnect }) => {
      const socket = connect(isDead ? { host, port: 1 } : { host, port }, onConnect);
      sockets.push(socket);
      return socket;
    },
  });
  const retry = { restartOnFailure: async () => !isDead };
  const consumer = kafka.consumer({ groupId: GROUP, sessionTimeout: 30_000, retry });
  const joined = Promise.withResolvers<void>();
  consumer.on(consumer.events.GROUP_JOIN, () => joined.resolve());
  await consumer.connect();
  await consumer.subscribe({ topics: ['stop.change-events'] });
  await consumer.run({ eachMessage: async () => {} });
  await joined.promise;
  isDead = true;
  for (const socket of sockets) socket.destroy();
}

const groupState = () =>
  rig.withAdmin(async (admin) => (await admin.describeGroups([GROUP])).groups[0]!.state);

test('a consumer that waits to join a group with a dead member stops all the same, in time', async () => {
  const { connection } = rig.options('stop');
  await ensureTopics(connection, { topicPrefix: 'stop.', partitions: 1, replication: 1 });
  await deadMember();
  const transport = rig.transport('stop', { sessionTimeoutMs: 30_000 });
  transport.subscribe('change-events', async () => {});
  while ((await groupState()) !== 'PreparingRebalance') await sleep(20);
  const began = performance.now();
  await transport.close();
  const ms = performance.now() - began;
  expect(await groupState()).toBe('PreparingRebalance'); // the dead one still counts as a member
  expect(ms).toBeLessThan(7000);
});
