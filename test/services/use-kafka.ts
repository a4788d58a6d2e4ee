import { afterAll, beforeAll, beforeEach } from 'vitest';
import { KafkaCluster, type KafkaOptions, kafkaMissing } from './kafka.ts';

/** A cluster for the tests of a file; where none can run they are skipped and say why. */
export function useKafka(options: KafkaOptions = {}): { readonly cluster: KafkaCluster } {
  const missing = kafkaMissing();
  let cluster: KafkaCluster | undefined;
  beforeAll(async () => {
    if (!missing) cluster = await KafkaCluster.start(options);
  }, 180_000);
  afterAll(() => cluster?.close());
  beforeEach((context) => {
    if (missing) context.skip(missing);
  });
  return {
    get cluster() {
      if (!cluster) throw new Error(missing ?? 'Kafka was not started');
      return cluster;
    },
  };
}
