import type { ChangeMessage, CommitMessage, DeltaMessage } from '../contracts/messages.ts';

/** The three topics and what travels on them. */
export interface Topics {
  'change-events': ChangeMessage;
  'delta-sets': DeltaMessage;
  commits: CommitMessage;
}
export type Topic = keyof Topics;

/**
 * Takes messages of one topic, in order. Resolving acknowledges all of them; an error that may be retried
 * (TmError.spec.retry) has the same messages come again, any other one makes the first message poison.
 * Messages may come twice.
 */
export type Handler<T extends Topic> = (messages: readonly Topics[T][]) => Promise<void>;

/** Messages between the stages: in this process or over Kafka. At least once; order only within a key. */
export interface Transport {
  /** Resolves when the messages are accepted; waits while the topic's queue is full (back-pressure). */
  publish<T extends Topic>(topic: T, messages: readonly Topics[T][]): Promise<void>;
  /** One handler a topic and process. */
  subscribe<T extends Topic>(topic: T, handler: Handler<T>): void;
  /** Waits for running handlers; what was not handled is lost with an in-process transport. */
  close(): Promise<void>;
}
