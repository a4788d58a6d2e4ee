import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch, Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type { Topic } from '../port.ts';
import { RETRY } from './client.ts';
import type { Delivered } from './dead-letters.ts';
import type { Deliverer } from './delivery.ts';
import { toTmError } from './kafka-error.ts';
import type { KafkaOptions } from './kafka-options.ts';
import type { Sender } from './sender.ts';
import { topicName } from './topic-names.ts';

const SESSION_MS = 30_000;
const BATCH = 8;
const MB = 1024 * 1024;
/** Between tries of a consumer that finds no broker at its start. */
const START_AGAIN_MS = 1000;
/** Without work at hand a group is left without a word after that: Kafka lets nobody go who waits to join with a dead member. */
const LEAVE_MS = 3000;

/**
 * One topic's consumer in its group. An offset is committed when everything up to it is done with, never before; a
 * delivery that failed pauses its partition, so that the others go on.
 */
export class TopicConsumer<T extends Topic> {
  readonly #topic: T;
  readonly #name: string;
  readonly #deliverer: Deliverer<T>;
  readonly #sender: Sender;
  readonly #options: KafkaOptions;
  readonly #consumer: Consumer;
  readonly #heartbeatMs: number;
  readonly #closing = new AbortController();
  readonly #resuming = new Set<NodeJS.Timeout>();
  /** Partitions whose lag was told. */
  readonly #told = new Set<number>();
  #started: Promise<void> | undefined;
  #handling: Promise<void> = Promise.resolve();

  constructor(kafka: Kafka, topic: T, deliverer: Deliverer<T>, sender: Sender, options: KafkaOptions) {
    const { group, topicPrefix = '', sessionTimeoutMs = SESSION_MS } = options;
    this.#topic = topic;
    this.#name = topicName(topicPrefix, topic);
    this.#deliverer = deliverer;
    this.#sender = sender;
    this.#options = options;
    this.#heartbeatMs = Math.min(3000, sessionTimeoutMs / 4);
    this.#consumer = kafka.consumer({
      groupId: `${group}.${this.#name}`,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: this.#heartbeatMs,
      rebalanceTimeout: 60_000,
      allowAutoTopicCreation: false,
      maxWaitTimeInMs: 250,
      maxBytesPerPartition: 2 * MB,
      maxBytes: 8 * MB,
      retry: RETRY,
    });
    this.#consumer.on(this.#consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) this.#crash(payload.error);
    });
    this.#consumer.on(this.#consumer.events.GROUP_JOIN, ({ payload }) =>
      this.#keepLag(payload.memberAssignment[this.#name] ?? []),
    );
  }

  #crash(error: unknown): void {
    if (!this.#closing.signal.aborted)
      this.#options.onCrash(this.#topic, toTmError(error, `consumer of ${this.#name}`));
  }

  start(): void {
    this.#started ??= this.#start().catch((error) => this.#crash(error));
  }

  /** Waits for Kafka to be there; a topic that is not there is an error. */
  async #start(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#sender.partitions(this.#name);
        if (signal.aborted) return;
        await this.#consumer.connect();
        await this.#consumer.subscribe({ topics: [this.#name], fromBeginning: true });
        await this.#consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: (payload) => this.#eachBatch(payload),
        });
        return;
      } catch (cause) {
        const error = toTmError(cause, `consumer of ${this.#name}`);
        if (error.code !== 'TM1515') throw error;
        this.#options.connection.log?.('error', error.message, { topic: this.#name });
        await sleep(START_AGAIN_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** The group is told that we live while the work goes on; when it has given us up, the work is to be left. */
  async #eachBatch(payload: EachBatchPayload): Promise<void> {
    const lost = new AbortController();
    const beat = setInterval(() => {
      payload.heartbeat().catch((error) => lost.abort(error));
    }, this.#heartbeatMs);
    const consuming = this.#consume(payload, lost.signal);
    this.#handling = Promise.allSettled([this.#handling, consuming]).then(() => {});
    try {
      await consuming;
    } finally {
      clearInterval(beat);
    }
  }

  async #consume(payload: EachBatchPayload, lost: AbortSignal): Promise<void> {
    const { batch, isRunning, isStale, heartbeat } = payload;
    const { batch: size = BATCH } = this.#options;
    const records = batch.messages.map((message) => this.#delivered(batch.partition, message));
    // Also of what can't be taken for now: a partition that waits falls behind.
    this.#lag(batch, batch.messages[0]!.offset);
    let at = 0;
    let singly = 0;
    const isClosing = (): boolean => this.#closing.signal.aborted;
    while (at < records.length && isRunning() && !isStale() && !isClosing()) {
      const some = records.slice(at, at + (singly > 0 ? 1 : size));
      const { done, waitMs, isolate } = await this.#deliverer.deliver(some, lost);
      at += done;
      singly = isolate ? some.length : Math.max(0, singly - done);
      // The commit goes before the heartbeat: a heartbeat that fails in a rebalance would have what is done come again.
      if (done > 0) await this.#commit(payload, records[at - 1]!.offset);
      lost.throwIfAborted();
      if (done > 0) await heartbeat();
      if (waitMs !== undefined) return this.#pause(payload, waitMs);
    }
  }

  #delivered(partition: number, message: EachBatchPayload['batch']['messages'][number]): Delivered {
    const { offset, key, headers = {}, value } = message;
    return { topic: this.#topic, partition, offset, key, headers, value };
  }

  async #commit(payload: EachBatchPayload, offset: string): Promise<void> {
    const { batch, resolveOffset, commitOffsetsIfNecessary, uncommittedOffsets } = payload;
    resolveOffset(offset);
    await commitOffsetsIfNecessary(uncommittedOffsets());
    this.#lag(batch, String(BigInt(offset) + 1n));
  }

  /** `next`: offset of the first message that is not done with. */
  #lag({ partition, highWatermark }: Batch, next: string): void {
    this.#told.add(partition);
    this.#options.counters.lag(this.#topic, partition, Number(BigInt(highWatermark) - BigInt(next)));
  }

  /** What was said of partitions that others have now would stand for ever. */
  #keepLag(own: readonly number[]): void {
    for (const partition of this.#told) {
      if (own.includes(partition)) continue;
      this.#told.delete(partition);
      this.#options.counters.lag(this.#topic, partition, undefined);
    }
  }

  #pause({ pause }: EachBatchPayload, ms: number): void {
    const resume = pause();
    const timer = setTimeout(() => {
      this.#resuming.delete(timer);
      resume();
    }, ms);
    this.#resuming.add(timer);
  }

  /** Waits for the handler that runs; what it has done is committed. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#resuming) clearTimeout(timer);
    const leaving = this.#leave();
    leaving.catch(() => {});
    await this.#handling;
    await Promise.race([leaving, sleep(LEAVE_MS, undefined, { ref: false })]);
  }

  async #leave(): Promise<void> {
    const stopped = this.#consumer.disconnect();
    await this.#started;
    await stopped;
    await this.#consumer.disconnect();
  }
}
