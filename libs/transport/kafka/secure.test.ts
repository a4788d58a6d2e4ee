import { expect, test } from 'vitest';
import { KAFKA_USER } from '../../../test/services/kafka.ts';
import { useKafka } from '../../../test/services/use-kafka.ts';
import type { KafkaConnection } from './connection.ts';
import { KafkaRig, TestCounters } from './kafka-rig.suite.ts';
import { batch } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka({ secure: true }));

function connection(more: Partial<KafkaConnection> = {}): KafkaConnection {
  const { cluster } = rig;
  return {
    brokers: cluster.brokers,
    clientId: 'test',
    giveUpMs: 500,
    tls: { ca: String(cluster.ca) },
    sasl: { mechanism: 'scram-sha-256', ...KAFKA_USER },
    ...more,
  };
}

test.for(['scram-sha-256', 'scram-sha-512', 'plain'] as const)(
  'topics are made, messages go out and come in over TLS with %s',
  async (mechanism) => {
    const own = connection({ sasl: { mechanism, ...KAFKA_USER } });
    await ensureTopics(own, { topicPrefix: `${mechanism}.`, partitions: 1, replication: 1 });
    const counters = new TestCounters();
    const transport = rig.transport(mechanism, { connection: own, counters });
    transport.subscribe('change-events', async () => {});
    await transport.publish('change-events', [batch(0)]);
    await counters.until('messagesIn', 1);
    await transport.close();
  },
);

test.for<[string, Partial<KafkaConnection>]>([
  ['the wrong password', { sasl: { mechanism: 'scram-sha-512', ...KAFKA_USER, password: 'wrong' } }],
  ['an unknown user', { sasl: { mechanism: 'plain', ...KAFKA_USER, username: 'nobody' } }],
  ['a certificate that nobody vouches for', { tls: {} }],
])('%s is TM1515', async ([, more]) => {
  const transport = rig.transport('refused', { connection: connection(more) });
  await expect(transport.publish('change-events', [batch(0)])).rejects.toMatchObject({ code: 'TM1515' });
  await expect(transport.check(['change-events'])).rejects.toMatchObject({ code: 'TM1515' });
  await transport.close();
});

test('who comes without TLS or without a user gets nowhere: TM1515', async () => {
  const { brokers, clientId, giveUpMs, tls } = connection();
  for (const own of [
    { brokers, clientId, giveUpMs, connectTimeoutMs: 1000 },
    { brokers, clientId, giveUpMs, tls },
  ] as KafkaConnection[]) {
    const transport = rig.transport('refused', { connection: own });
    await expect(transport.check(['change-events'])).rejects.toMatchObject({ code: 'TM1515' });
    await transport.close();
  }
});
