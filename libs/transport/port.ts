import type { Topic, Topics } from '../contracts/messages.ts';

export type { Topic, Topics };

/**
 * Takes messages of one topic, in order. Resolving acknowledges all of them; an error that may be retried
 * (TmError.spec.retry) has the same messages come again. After any other one they come one by one, and the one that
 * fails alone is poison. Messages may come twice. `lost` is aborted when they were given to somebody else meanwhile:
 * then going on is of no use, and does no harm.
 */
export type Handler<T extends Topic> = (messages: readonly Topics[T][], lost: AbortSignal) => Promise<void>;

/** Messages between the stages: in this process or over Kafka. At least once; order only within a key. */
export interface Transport {
  /** Resolves when the messages are accepted; waits while the topic's queue is full (back-pressure). */
  publish<T extends Topic>(topic: T, messages: readonly Topics[T][]): Promise<void>;
  /** One handler a topic and process. */
  subscribe<T extends Topic>(topic: T, handler: Handler<T>): void;
  /** Waits for running handlers; what was not handled is lost with an in-process transport. */
  close(): Promise<void>;
}
