import { globSync, statSync } from 'node:fs';
import type { Admin, Consumer } from 'kafkajs';
import type { CommitMessage } from '../../../libs/contracts/messages.ts';
import { connectKafka } from '../../../libs/transport/kafka/client.ts';

const TOPICS = ['change-events', 'delta-sets', 'commits'] as const;

/** Of one topic: messages by its offsets, bytes as they lie in the broker's log. */
export interface Volume {
  readonly messages: number;
  readonly storedBytes: number;
}

/** Looks at the topics from outside, as anybody with a client of Kafka may. */
export class TopicWatch {
  readonly #admin: Admin;
  readonly #consumer: Consumer;
  readonly #logs: string;
  readonly #events: CommitMessage[] = [];
  #wake: () => void = () => {};

  private constructor(admin: Admin, consumer: Consumer, logs: string) {
    this.#admin = admin;
    this.#consumer = consumer;
    this.#logs = logs;
  }

  /** `logs`: folders of the broker's logs, as a glob. */
  static async open(brokers: readonly string[], logs: string): Promise<TopicWatch> {
    const kafka = connectKafka({ brokers, clientId: 'bench' });
    const watch = new TopicWatch(
      kafka.admin(),
      kafka.consumer({ groupId: 'bench', maxWaitTimeInMs: 100 }),
      logs,
    );
    await watch.#admin.connect();
    await watch.#consumer.connect();
    await watch.#consumer.subscribe({ topics: ['commits'], fromBeginning: true });
    await watch.#consumer.run({
      eachMessage: async ({ message }) => {
        watch.#events.push(JSON.parse(message.value!.toString()));
        watch.#wake();
      },
    });
    return watch;
  }

  /** The committed backup's id of a source's event number `count`, from 1; throws where a backup fails. */
  async committed(sourceUid: string, count: number): Promise<string> {
    for (;;) {
      const failed = this.#events.find(({ type }) => type === 'backup.failed');
      if (failed) throw new Error(`a backup failed: ${JSON.stringify(failed.data)}`);
      const own = this.#events.filter(
        ({ type, source }) => type === 'backup.committed' && source.endsWith(`/${sourceUid}`),
      );
      if (own.length >= count) return String(own[count - 1]!.data.backupId);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async volumes(): Promise<Record<string, Volume>> {
    const volumes: Record<string, Volume> = {};
    for (const topic of TOPICS) {
      const partitions = await this.#admin.fetchTopicOffsets(topic);
      const messages = partitions.reduce((sum, { high }) => sum + Number(high), 0);
      const files = globSync(`${this.#logs}/${topic}-[0-9]*/*.log`);
      const storedBytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
      volumes[topic] = { messages, storedBytes };
    }
    return volumes;
  }

  async close(): Promise<void> {
    await this.#consumer.disconnect();
    await this.#admin.disconnect();
  }
}
