import type { Topic } from '../port.ts';

/**
 * What is counted: messages and bytes (of values, before compression) out and in; of those that came in
 * - late: their backup is unknown or has ended; dropped
 * - stale: of another epoch than their backup's (TM1502); dropped
 * - forged: without the MAC of their backup (TM1510); in the DLQ
 * - poisoned: not to be parsed (TM1505), too large (TM1511) or not to be handled; in the DLQ, their backup fails
 * - newer: found to be of a newer schema version (TM1514), at each look; they wait
 * - retried: deliveries that failed and come again.
 */
export type TransportCounter =
  | 'messagesOut'
  | 'bytesOut'
  | 'messagesIn'
  | 'bytesIn'
  | 'late'
  | 'stale'
  | 'forged'
  | 'poisoned'
  | 'newer'
  | 'retried';

export interface TransportCounters {
  add(counter: TransportCounter, topic: Topic, by: number): void;
  /** Messages of a partition that this consumer has still before it; undefined once the partition is another's. */
  lag(topic: Topic, partition: number, messages: number | undefined): void;
}
