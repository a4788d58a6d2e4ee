import { expect, test } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import { TmError } from '../../model/errors.ts';
import { KafkaRig, TestCounters } from './kafka-rig.suite.ts';
import { batch } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka());
const SOON = { timeout: 20_000 };

const made = async (place: string, partitions: number) => {
  const { connection } = rig.options(place);
  await ensureTopics(connection, { topicPrefix: `${place}.`, partitions, replication: 1 });
};

test('a partition whose messages cannot be taken for now shows how far it is behind, also as it grows', async () => {
  await made('waiting', 1);
  const counters = new TestCounters();
  const transport = rig.transport('waiting', { counters });
  let isAway = true;
  await transport.publish('change-events', [batch(0), batch(1)]);
  transport.subscribe('change-events', async () => {
    if (isAway) throw new TmError('TM1301', 'of the test');
  });
  await expect.poll(() => counters.lags.get('change-events/0'), SOON).toBe(2);
  await transport.publish('change-events', [batch(2)]);
  await expect.poll(() => counters.lags.get('change-events/0'), SOON).toBe(3);
  isAway = false;
  await expect.poll(() => counters.lags.get('change-events/0'), SOON).toBe(0);
  await transport.close();
});

test('a partition that another instance has now is no more told of by the one that had it', async () => {
  await made('moving', 2);
  const [one, two] = [new TestCounters(), new TestCounters()];
  const told = () => [...one.lags.keys(), ...two.lags.keys()].toSorted();
  const first = rig.transport('moving', { counters: one });
  first.subscribe('change-events', async () => {});
  const publish = () =>
    first.publish(
      'change-events',
      [1, 2, 3, 4, 5, 6, 7, 8].map((sourceId) => batch(0, { sourceId })),
    );
  const both = ['change-events/0', 'change-events/1'];
  await publish();
  await expect.poll(told, SOON).toEqual(both);
  const second = rig.transport('moving', { counters: two });
  second.subscribe('change-events', async () => {});
  await expect.poll(() => one.lags.size, SOON).toBe(1);
  await publish();
  await expect.poll(told, SOON).toEqual(both);
  await first.close();
  await second.close();
});
