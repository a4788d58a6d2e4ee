import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin, type IHeaders, type Kafka, type Producer } from 'kafkajs';
import { TmError } from '../../model/errors.ts';
import { RETRY } from './client.ts';
import type { KafkaConnection } from './connection.ts';
import { toTmError } from './kafka-error.ts';
import { persist } from './persist.ts';
import { Room } from './room.ts';

/** A record for one topic; `key` decides on the partition. */
export interface OutRecord {
  readonly key: Buffer | string | null;
  readonly headers: IHeaders;
  readonly value: Buffer | null;
}

interface Waiting {
  readonly record: OutRecord;
  readonly sent: PromiseWithResolvers<void>;
}

export interface SenderLimits {
  /** Messages and bytes that are on their way at most. */
  readonly messages: number;
  readonly bytes: number;
}

const GIVE_UP_MS = 60_000;
const WAIT_MS = 250;
/** Milliseconds in which what is on its way has to arrive once we close: a broker may hang for its whole time-out. */
const CLOSE_MS = 1500;
/** Bytes of values that go in one request at most, unless one is larger. */
const REQUEST_BYTES = 1024 * 1024;
const sizeOf = ({ value }: OutRecord): number => value?.length ?? 0;

/** The records of one partition: one request at a time, so that they stay in order; what waits goes together. */
class Lane {
  readonly #waiting: Waiting[] = [];
  readonly #send: (records: readonly OutRecord[]) => Promise<void>;
  #running = false;

  constructor(send: (records: readonly OutRecord[]) => Promise<void>) {
    this.#send = send;
  }

  push(record: OutRecord): Promise<void> {
    const sent = Promise.withResolvers<void>();
    this.#waiting.push({ record, sent });
    if (!this.#running) void this.#run();
    return sent.promise;
  }

  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { record } of this.#waiting) {
      bytes += sizeOf(record);
      if (count > 0 && bytes > REQUEST_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const some = this.#take();
      try {
        await this.#send(some.map(({ record }) => record));
        for (const { sent } of some) sent.resolve();
      } catch (error) {
        for (const { sent } of some) sent.reject(error);
      }
    }
    this.#running = false;
  }
}

/**
 * Sends records, each acknowledged by all replicas in sync.
 * - One partition a request, and the answer has to name it: with several of them kafkajs 2.2.4 passes over those whose
 *   leader moved, and reports success.
 * - Not idempotent in Kafka's sense: after a request whose outcome is unknown, kafkajs gives its sequence numbers to
 *   other records, which the broker then takes for repeated ones and drops. Records may come twice instead.
 */
export class Sender {
  readonly #kafka: Kafka;
  readonly #connection: KafkaConnection;
  readonly #producer: Producer;
  readonly #partition = kafkajs.Partitioners.DefaultPartitioner();
  readonly #partitions = new Map<string, Promise<number>>();
  readonly #lanes = new Map<string, Lane>();
  readonly #room: Room;
  readonly #onTheWay = new Set<PromiseWithResolvers<void>>();
  readonly #closing = new AbortController();
  #connected: Promise<void> | undefined;

  constructor(kafka: Kafka, connection: KafkaConnection, limits: SenderLimits) {
    this.#kafka = kafka;
    this.#connection = connection;
    this.#room = new Room(limits.messages, limits.bytes);
    this.#producer = kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      maxInFlightRequests: 8,
      retry: RETRY,
    });
  }

  /** Waits for room; then gives the promise of the acknowledgement. Records of a key go in the order of the calls. */
  async enter(topic: string, record: OutRecord): Promise<{ readonly sent: Promise<void> }> {
    const bytes = sizeOf(record);
    await this.#room.enter(bytes);
    const sent = Promise.withResolvers<void>();
    sent.promise.catch(() => {}); // whoever asked may have given up by then
    this.#onTheWay.add(sent);
    const leave = () => {
      this.#onTheWay.delete(sent);
      this.#room.leave(bytes);
    };
    this.#sendTo(topic, record).finally(leave).then(sent.resolve, sent.reject);
    return { sent: sent.promise };
  }

  async #sendTo(topic: string, record: OutRecord): Promise<void> {
    const count = await this.partitions(topic);
    const partition = this.#partitionOf(topic, record, count);
    const name = `${topic}/${partition}`;
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = new Lane((records) => this.#persistently(topic, partition, records));
      this.#lanes.set(name, lane);
    }
    return lane.push(record);
  }

  /** The partition that every client of Kafka chooses for a key. */
  #partitionOf(topic: string, { key, value }: OutRecord, count: number): number {
    if (key === null) return 0;
    const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({
      partitionId,
      leader: 0,
      partitionErrorCode: 0,
      replicas: [],
      isr: [],
    }));
    return this.#partition({ topic, partitionMetadata, message: { key, value } });
  }

  /** Until it works, it is given up, or we close. */
  #persist<T>(work: () => Promise<T>, codes: readonly string[]): Promise<T> {
    return persist(work, {
      giveUpMs: this.#connection.giveUpMs ?? GIVE_UP_MS,
      waitMs: WAIT_MS,
      isWorthIt: (error) => error instanceof TmError && codes.includes(error.code),
      signal: this.#closing.signal,
    });
  }

  /** Number of partitions; TM1516 when there is no such topic. */
  partitions(topic: string): Promise<number> {
    let count = this.#partitions.get(topic);
    if (!count) {
      count = this.#persist(() => this.#countPartitions(topic), ['TM1515']);
      count.catch(() => this.#partitions.delete(topic));
      this.#partitions.set(topic, count);
    }
    return count;
  }

  async #countPartitions(topic: string): Promise<number> {
    return this.withAdmin(`topic ${topic}`, async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const count = topics[0]?.partitions.length ?? 0;
      if (count === 0) throw new TmError('TM1516', topic);
      return count;
    });
  }

  /** For a short question; fails soon where nobody answers. */
  async withAdmin<T>(what: string, ask: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin();
    try {
      await admin.connect();
      return await ask(admin);
    } catch (error) {
      throw toTmError(error, what);
    } finally {
      await admin.disconnect().catch(() => {});
    }
  }

  async #connect(): Promise<void> {
    this.#connected ??= this.#producer.connect();
    try {
      await this.#connected;
    } catch (error) {
      this.#connected = undefined;
      throw error;
    }
  }

  /** A topic that was there is not gone when a broker says so: those that have just started know little. */
  #persistently(topic: string, partition: number, records: readonly OutRecord[]): Promise<void> {
    return this.#persist(() => this.#request(topic, partition, records), ['TM1515', 'TM1516']);
  }

  async #request(topic: string, partition: number, records: readonly OutRecord[]): Promise<void> {
    try {
      await this.#connect();
      const results = await this.#producer.send({
        topic,
        acks: -1,
        compression: kafkajs.CompressionTypes.ZSTD,
        messages: records.map(({ key, headers, value }) => ({ key, headers, value, partition })),
      });
      const isAcknowledged = results.some(
        (one) => one.topicName === topic && one.partition === partition && one.errorCode === 0,
      );
      if (!isAcknowledged) throw new TmError('TM1515', `${topic}/${partition} did not acknowledge`);
    } catch (error) {
      throw toTmError(error, `${topic}/${partition}`);
    }
  }

  /** What is on its way is sent, if Kafka takes it soon; the rest, and those who wait for room, get TM1508. */
  async close(): Promise<void> {
    this.#room.close();
    this.#closing.abort();
    const sending = [...this.#onTheWay].map(({ promise }) => promise);
    await inTime(Promise.allSettled(sending));
    for (const { reject } of this.#onTheWay) reject(new TmError('TM1508', 'the stream is closed'));
    await inTime(this.#disconnect());
  }

  async #disconnect(): Promise<void> {
    await this.#connected?.catch(() => {});
    await this.#producer.disconnect();
  }
}

const inTime = (work: Promise<unknown>): Promise<unknown> =>
  Promise.race([work, sleep(CLOSE_MS, undefined, { ref: false })]);
