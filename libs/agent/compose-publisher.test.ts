import { randomUUID } from 'node:crypto';
import diagnostics from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { useKafka } from '../../test/services/use-kafka.ts';
import type { OpenReply } from '../contracts/api/control.ts';
import { isAuthentic } from '../contracts/wire/mac.ts';
import type { Writers } from '../intake/writers.ts';
import { KafkaRig, macKeyOf, TestCounters } from '../transport/kafka/kafka-rig.suite.ts';
import { batch } from '../transport/kafka/messages.suite.ts';
import { ensureTopics } from '../transport/kafka/topics.ts';
import { type AgentKafka, agentKafka } from './compose-publisher.ts';

const rig = new KafkaRig(useKafka());
const CLIENT_SOCKETS = 'net.client.socket';
const noWriters = {} as Writers;

let place: string;
let counters: TestCounters;
let kafka: AgentKafka;
/** TCP connections that this process has begun. */
let sockets: Socket[];
const onSocket = (message: unknown) => sockets.push((message as { socket: Socket }).socket);

const opened = (id: string) =>
  ({ backup: { id }, macKey: macKeyOf(id).toString('base64') }) as unknown as OpenReply;

async function publishFor(id: string): Promise<void> {
  const publisher = await kafka.publisher(opened(id), noWriters);
  await publisher.publish('change-events', [batch(0, { backupId: id })]);
  await publisher.close();
}

beforeEach(async () => {
  place = randomUUID();
  const { connection } = rig.options(place);
  await ensureTopics(connection, { topicPrefix: `${place}.`, partitions: 1, replication: 1 });
  counters = new TestCounters();
  kafka = agentKafka(connection, `${place}.`, counters);
  sockets = [];
  diagnostics.subscribe(CLIENT_SOCKETS, onSocket);
});
afterEach(() => {
  diagnostics.unsubscribe(CLIENT_SOCKETS, onSocket);
  return kafka?.close();
});

test('all backups of a process share its connection, each signs with its own key, and all is counted', async () => {
  await publishFor('first');
  const begun = sockets.length;
  expect(begun).toBeGreaterThan(0);
  await publishFor('second');
  await publishFor('third');
  expect(sockets).toHaveLength(begun);
  const sent = await rig.read(`${place}.change-events`, 3);
  expect(sent.map(({ headers }) => String(headers.backup))).toEqual(['first', 'second', 'third']);
  for (const { headers, value } of sent)
    expect(isAuthentic('change-events', headers, value, macKeyOf(String(headers.backup)))).toBe(true);
  expect(counters.of('messagesOut')).toBe(3);
  await kafka.close();
  await expect.poll(() => sockets.every(({ destroyed }) => destroyed), { timeout: 10_000 }).toBe(true);
});

test('the key of a backup that has ended is forgotten: nothing is signed in its name any more', async () => {
  const publisher = await kafka.publisher(opened('over'), noWriters);
  await publisher.close();
  await expect(publisher.publish('change-events', [batch(0, { backupId: 'over' })])).rejects.toMatchObject({
    code: 'TM1507',
  });
});

test('the broker is killed and comes back: ready says so, and the next backup goes out over a new connection', async () => {
  await publishFor('before');
  await kafka.check();
  await rig.cluster.kill();
  await expect(kafka.check()).rejects.toMatchObject({ code: 'TM1515' });
  await rig.cluster.restart();
  await kafka.check();
  await publishFor('after');
  const sent = await rig.read(`${place}.change-events`, 2);
  expect(sent.map(({ headers }) => String(headers.backup))).toEqual(['before', 'after']);
});
