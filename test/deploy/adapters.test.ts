import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPostgresRegistry } from '../../libs/registry/postgres/open-postgres-registry.ts';
import { registrySuite } from '../../libs/registry/registry.suite.ts';
import { openGcsStore } from '../../libs/store/gcs/gcs-store.ts';
import { storeSuite } from '../../libs/store/store.suite.ts';
import { KafkaRig } from '../../libs/transport/kafka/kafka-rig.suite.ts';
import { ensureTopics } from '../../libs/transport/kafka/topics.ts';
import { transportSuite } from '../../libs/transport/transport.suite.ts';
import type { KafkaCluster } from '../services/kafka.ts';
import { type Container, startGcs, startKafka, startPostgres } from './containers.ts';
import { docker, engineMissing, OWNER_LABEL, removeLeftovers } from './engine.ts';

/** Adapters against the images that people run; the same suites run against processes elsewhere. */
if (engineMissing !== undefined) it('adapters against containers', (context) => context.skip(engineMissing));
else {
  beforeAll(async () => void (await removeLeftovers()), 60_000);

  registrySuite('Postgres in a container', async () => {
    const postgres = await startPostgres();
    const open = () => openPostgresRegistry({ connection: postgres.address });
    return { registry: await open(), other: open, cleanup: postgres.stop };
  });

  describe('fake-gcs-server in a container', () => {
    let gcs: Container;
    beforeAll(async () => {
      gcs = await startGcs('tidemark-test');
    }, 120_000);
    afterAll(() => gcs?.stop());

    storeSuite('GCS, in a container', async () => {
      const url = `gs://tidemark-test/${randomUUID()}`;
      const open = () => openGcsStore(url, { endpoint: gcs.address });
      return { store: open(), reopen: async () => open() };
    });
  });

  describe('Kafka in a container', () => {
    let kafka: Container;
    const rig = new KafkaRig({
      get cluster() {
        const brokers = [kafka.address];
        return { brokers, internalBrokers: brokers } as unknown as KafkaCluster; // all that the suite asks of it
      },
    });
    beforeAll(async () => {
      kafka = await startKafka();
    }, 120_000);
    afterAll(() => kafka?.stop());

    transportSuite(
      'kafka, in a container',
      async ({ place, ...options }) => {
        const { connection } = rig.options(place);
        await ensureTopics(connection, { topicPrefix: `${place}.`, partitions: 3, replication: 1 });
        return rig.transport(place, options);
      },
      { backPressure: 'as of Kafka as a process' },
    );
  });

  it('containers that a killed test left are removed at the next run, and those of a living one are not', async () => {
    const idle = ['--entrypoint', 'sleep', 'postgres:18-alpine', '600'];
    const start = async (owner: number) =>
      (await docker(['run', '--detach', '--label', `${OWNER_LABEL}=${owner}`, ...idle])).trim();
    const noSuchProcess = 2 ** 22 + 1; // the kernel's largest is 2^22
    const [dead, living] = [await start(noSuchProcess), await start(process.pid)];
    try {
      const removed = await removeLeftovers();
      expect(removed.map((id) => dead.startsWith(id))).toContain(true);
      expect(removed.map((id) => living.startsWith(id))).not.toContain(true);
      expect((await docker(['ps', '--quiet', '--no-trunc'])).split('\n')).toContain(living);
    } finally {
      await docker(['rm', '--force', living]);
    }
  });
}
