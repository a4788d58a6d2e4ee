import { createHash } from 'node:crypto';
import { type IHeaders, Kafka, logLevel } from 'kafkajs';
import type { KafkaCluster } from '../../../test/services/kafka.ts';
import type { AdmittedBackup } from '../admission.ts';
import type { Topic } from '../port.ts';
import type { TransportCounter, TransportCounters } from './counters.ts';
import type { KafkaOptions } from './kafka-options.ts';
import { KafkaTransport } from './transport.ts';

/** The MAC key that tests give a backup. */
export const macKeyOf = (backupId: string): Buffer => createHash('sha256').update(backupId).digest();

export const EPOCH = { generation: 1, counter: 1 };

/** Every backup is open, at epoch 1.1. */
export const everyBackup = async (ids: readonly string[]): Promise<Map<string, AdmittedBackup>> =>
  new Map(ids.map((id) => [id, { state: 'open', epoch: EPOCH, macKey: macKeyOf(id) }]));

/** Counts, and wakes who waits for a count. */
export class TestCounters implements TransportCounters {
  readonly counts = new Map<TransportCounter, number>();
  readonly lags = new Map<string, number>();
  #changed = Promise.withResolvers<void>();

  add(counter: TransportCounter, _topic: Topic, by: number): void {
    this.counts.set(counter, this.of(counter) + by);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  lag(topic: Topic, partition: number, messages: number | undefined): void {
    const name = `${topic}/${partition}`;
    if (messages === undefined) this.lags.delete(name);
    else this.lags.set(name, messages);
  }

  of(counter: TransportCounter): number {
    return this.counts.get(counter) ?? 0;
  }

  async until(counter: TransportCounter, count: number): Promise<void> {
    while (this.of(counter) < count) await this.#changed.promise;
  }
}

export interface PlainRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly key: string | undefined;
  readonly headers: IHeaders;
  readonly value: Buffer;
}

/** What tests share: options of a transport on a cluster, and a look at the topics that owes nothing to our adapter. */
export class KafkaRig {
  readonly #kafka: { readonly cluster: KafkaCluster };

  constructor(kafka: { readonly cluster: KafkaCluster }) {
    this.#kafka = kafka;
  }

  get cluster(): KafkaCluster {
    return this.#kafka.cluster;
  }

  get #plain(): Kafka {
    return new Kafka({ brokers: this.cluster.internalBrokers, logLevel: logLevel.NOTHING });
  }

  options(place: string, more: Partial<KafkaOptions> = {}): KafkaOptions {
    return {
      connection: { brokers: this.cluster.brokers, clientId: 'test' },
      group: 'test',
      topicPrefix: `${place}.`,
      macKeys: { keyOf: async (id) => macKeyOf(id) },
      admission: { admit: everyBackup },
      counters: new TestCounters(),
      onPoison: async () => {},
      onCrash: (topic, error) => {
        throw new Error(`consumer of ${topic} crashed`, { cause: error });
      },
      backoffMs: () => 20,
      sessionTimeoutMs: 6000,
      ...more,
    };
  }

  transport(place: string, more: Partial<KafkaOptions> = {}): KafkaTransport {
    return new KafkaTransport(this.options(place, more));
  }

  /** Puts records there as anybody could. */
  async put(
    topic: string,
    records: readonly { key?: string | null; headers?: IHeaders; value: Buffer | null }[],
  ): Promise<void> {
    const producer = this.#plain.producer({ allowAutoTopicCreation: false });
    await producer.connect();
    for (const { key = null, headers = {}, value } of records)
      await producer.send({ topic, compression: 4, messages: [{ key, headers, value, partition: 0 }] });
    await producer.disconnect();
  }

  /** The first records of a topic, as soon as there are so many. */
  async read(topic: string, count: number): Promise<PlainRecord[]> {
    const consumer = this.#plain.consumer({ groupId: `reader-${Math.random()}`, maxWaitTimeInMs: 100 });
    const records: PlainRecord[] = [];
    const done = Promise.withResolvers<void>();
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ partition, message: { offset, key, headers = {}, value } }) => {
        records.push({ topic, partition, offset, key: key?.toString(), headers, value: value! });
        if (records.length >= count) done.resolve();
      },
    });
    await done.promise;
    await consumer.disconnect();
    return records;
  }

  async withAdmin<T>(use: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
    const admin = this.#plain.admin();
    await admin.connect();
    try {
      return await use(admin);
    } finally {
      await admin.disconnect();
    }
  }

  /** Committed offsets of a group's partitions, -1 where there is none. */
  committed(group: string, topic: string): Promise<number[]> {
    return this.withAdmin(async (admin) => {
      const [found] = await admin.fetchOffsets({ groupId: `${group}.${topic}`, topics: [topic] });
      return found!.partitions
        .toSorted((a, b) => a.partition - b.partition)
        .map(({ offset }) => Number(offset));
    });
  }

  /** Records of a topic. */
  count(topic: string): Promise<number> {
    return this.withAdmin(async (admin) => {
      const offsets = await admin.fetchTopicOffsets(topic);
      return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
    });
  }
}
