import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { KAFKA_USER } from '../../test/services/kafka.ts';
import { useKafka } from '../../test/services/use-kafka.ts';
import { KafkaRig } from '../transport/kafka/kafka-rig.suite.ts';
import { ensureTopics } from '../transport/kafka/topics.ts';
import { kafkaConnection } from './compose-kafka.ts';
import { KAFKA, readConfig } from './config.ts';
import { makeLog } from './log.ts';

const rig = new KafkaRig(useKafka({ secure: true }));
const folder = mkdtempSync(join(tmpdir(), 'tidemark-kafka-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const kept = (name: string, text: string): string => {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
};

/** As a service has it from its environment, the password from a file. */
function connectionOf(more: NodeJS.ProcessEnv) {
  const env = {
    TIDEMARK_KAFKA_BROKERS: rig.cluster.brokers.join(', '),
    TIDEMARK_KAFKA_CA: kept('ca.pem', String(rig.cluster.ca)),
    TIDEMARK_KAFKA_USERNAME: KAFKA_USER.username,
    TIDEMARK_KAFKA_PASSWORD_FILE: kept('password', `${KAFKA_USER.password}\n`),
    ...more,
  };
  return kafkaConnection(readConfig(KAFKA, env), 'test', makeLog('test', 'silent'));
}

test.each(['scram-sha-256', 'scram-sha-512', 'plain'])(
  'a broker that asks for TLS and %s is reached by variables alone',
  async (mechanism) => {
    const connection = connectionOf({ TIDEMARK_KAFKA_MECHANISM: mechanism });
    await ensureTopics(connection, { topicPrefix: `${mechanism}.`, partitions: 1, replication: 1 });
    const transport = rig.transport(mechanism, { connection });
    await transport.check(['change-events', 'commits']);
    await transport.close();
  },
);

test('with another password it is TM1515', async () => {
  const connection = connectionOf({
    TIDEMARK_KAFKA_MECHANISM: 'scram-sha-512',
    TIDEMARK_KAFKA_PASSWORD_FILE: kept('wrong', 'wrong'),
  });
  const transport = rig.transport('refused', { connection });
  await expect(transport.check(['commits'])).rejects.toMatchObject({ code: 'TM1515' });
  await transport.close();
});
