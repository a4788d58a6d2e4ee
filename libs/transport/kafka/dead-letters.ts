import type { IHeaders } from 'kafkajs';
import type { TmError } from '../../model/errors.ts';
import type { Topic } from '../port.ts';
import type { Sender } from './sender.ts';
import { dlqOf, topicName } from './topic-names.ts';

/** A record of Kafka as it was delivered. */
export interface Delivered {
  readonly topic: Topic;
  readonly partition: number;
  readonly offset: string;
  readonly key: Buffer | null;
  readonly headers: IHeaders;
  readonly value: Buffer | null;
}

/** Puts records that can't be used where a person finds them. */
export class DeadLetters {
  readonly #sender: Sender;
  readonly #prefix: string;

  constructor(sender: Sender, prefix: string) {
    this.#sender = sender;
    this.#prefix = prefix;
  }

  /** The record as it was, and why and where from; resolves when it is durable. `commits` has no such place. */
  async put({ topic, partition, offset, key, headers, value }: Delivered, error: TmError): Promise<void> {
    const dlq = dlqOf(topic);
    if (!dlq) return;
    const origin = `${topicName(this.#prefix, topic)}/${partition}@${offset}`;
    const record = { key, value, headers: { ...headers, 'error-code': error.code, origin } };
    const { sent } = await this.#sender.enter(topicName(this.#prefix, dlq), record);
    await sent;
  }
}
