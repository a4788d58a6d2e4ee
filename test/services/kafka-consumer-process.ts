/** A consumer that a test kills: takes the connection's brokers and a place, says which batches it has, and never ends. */
import { everyBackup, macKeyOf, TestCounters } from '../../libs/transport/kafka/kafka-rig.suite.ts';
import { KafkaTransport } from '../../libs/transport/kafka/transport.ts';

const [, , brokers, place] = process.argv;
const transport = new KafkaTransport({
  connection: { brokers: brokers!.split(','), clientId: 'killed' },
  group: 'test',
  topicPrefix: `${place}.`,
  macKeys: { keyOf: async (id) => macKeyOf(id) },
  admission: { admit: everyBackup },
  counters: new TestCounters(),
  onPoison: async () => {},
  onCrash: () => process.exit(1),
  batch: 1,
  sessionTimeoutMs: 2000,
});
transport.subscribe('change-events', async ([message]) => {
  process.stdout.write(`${message!.header.batchNo}\n`);
  if (message!.header.batchNo === 2) await new Promise(() => {});
});
