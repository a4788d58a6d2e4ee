import { expect, test } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import { KafkaRig } from './kafka-rig.suite.ts';
import { batch } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka());
/** A service ends within ten seconds; other parts of it need some of them. */
const IN_TIME_MS = 9000;

test('Kafka hangs amid what is published, by a handler too: closing refuses it with TM1508, in time', async () => {
  const { connection } = rig.options('frozen');
  await ensureTopics(connection, { topicPrefix: 'frozen.', partitions: 1, replication: 1 });
  const transport = rig.transport('frozen');
  const handling = Promise.withResolvers<void>();
  const refused = Promise.withResolvers<unknown>();
  transport.subscribe('change-events', async () => {
    rig.cluster.freeze();
    handling.resolve();
    await transport.publish('change-events', [batch(1)]).catch((error) => {
      refused.resolve(error);
      throw error;
    });
  });
  try {
    await transport.publish('change-events', [batch(0)]);
    await handling.promise;
    const began = performance.now();
    const publishing = transport.publish('change-events', [batch(2)]);
    await Promise.all([transport.close(), expect(publishing).rejects.toMatchObject({ code: 'TM1508' })]);
    expect(await refused.promise).toMatchObject({ code: 'TM1508' });
    expect(performance.now() - began).toBeLessThan(IN_TIME_MS);
  } finally {
    rig.cluster.thaw();
  }
});
