import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { encode } from '../../contracts/wire/codec.ts';
import { sign } from '../../contracts/wire/mac.ts';
import { TmError } from '../../model/errors.ts';
import type { Handler, Topic, Topics, Transport } from '../port.ts';
import { connectKafka } from './client.ts';
import { TopicConsumer } from './consumer.ts';
import { DeadLetters } from './dead-letters.ts';
import { Deliverer } from './delivery.ts';
import type { KafkaOptions } from './kafka-options.ts';
import { type OutRecord, Sender } from './sender.ts';
import { topicName } from './topic-names.ts';

const CAPACITY = 64;
const CAPACITY_BYTES = 16 * 1024 * 1024;
/** Milliseconds in which handlers may still publish once we close; a Kafka that hangs would hold them for its time-out. */
const HANDLERS_MS = 2500;

/** The stages' messages over Kafka (docs/6-messages.md). */
export class KafkaTransport implements Transport {
  readonly #options: KafkaOptions;
  readonly #prefix: string;
  readonly #kafka: Kafka;
  readonly #sender: Sender;
  readonly #consumers = new Map<Topic, TopicConsumer<Topic>>();
  #closed: Promise<void> | undefined;

  constructor(options: KafkaOptions) {
    const { connection, topicPrefix = '', capacity = CAPACITY } = options;
    this.#options = options;
    this.#prefix = topicPrefix;
    this.#kafka = connectKafka(connection);
    this.#sender = new Sender(this.#kafka, connection, { messages: capacity, bytes: CAPACITY_BYTES });
  }

  /** Resolves when all replicas in sync have all of the messages; some may be there when it fails. */
  async publish<T extends Topic>(topic: T, messages: readonly Topics[T][]): Promise<void> {
    const { counters } = this.#options;
    const name = topicName(this.#prefix, topic);
    const sending: Promise<void>[] = [];
    try {
      for (const message of messages) {
        const record = await this.#record(topic, message);
        const { sent } = await this.#sender.enter(name, record);
        const counted = sent.then(() => {
          counters.add('messagesOut', topic, 1);
          counters.add('bytesOut', topic, record.value.length);
        });
        sending.push(counted);
      }
    } finally {
      await Promise.allSettled(sending);
    }
    await Promise.all(sending);
  }

  async #record(topic: Topic, message: Topics[Topic]): Promise<OutRecord & { readonly value: Buffer }> {
    const { key, headers, value } = encode(message);
    if (!('header' in message)) return { key, headers, value };
    const macKey = await this.#options.macKeys.keyOf(message.header.backupId);
    return { key, value, headers: { ...headers, mac: sign(topic, headers, value, macKey) } };
  }

  subscribe<T extends Topic>(topic: T, handler: Handler<T>): void {
    if (this.#consumers.has(topic)) throw new TmError('TM1099', `a second handler of ${topic}`);
    const letters = new DeadLetters(this.#sender, this.#prefix);
    const deliverer = new Deliverer(topic, handler, letters, this.#options);
    const consumer = new TopicConsumer(this.#kafka, topic, deliverer, this.#sender, this.#options);
    this.#consumers.set(topic, consumer as unknown as TopicConsumer<Topic>);
    consumer.start();
  }

  /** Resolves when Kafka answers and has the topics of this transport; TM1515 or TM1516 soon otherwise. */
  async check(topics: readonly Topic[]): Promise<void> {
    await this.#sender.withAdmin('metadata', (admin) =>
      admin.fetchTopicMetadata({ topics: topics.map((topic) => topicName(this.#prefix, topic)) }),
    );
  }

  /** Waits for the handlers that run, which may publish for a while until they are done, and for what is on its way. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const consumers = Promise.all([...this.#consumers.values()].map((consumer) => consumer.close()));
    await Promise.race([consumers, sleep(HANDLERS_MS, undefined, { ref: false })]);
    await this.#sender.close();
    await consumers;
  }
}
