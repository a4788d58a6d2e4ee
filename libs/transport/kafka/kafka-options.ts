import type { TmError } from '../../model/errors.ts';
import type { Admission } from '../admission.ts';
import type { Topic } from '../port.ts';
import type { KafkaConnection } from './connection.ts';
import type { TransportCounters } from './counters.ts';

/** Gives the MAC key of a backup that this process publishes for. */
export interface MacKeys {
  keyOf(backupId: string): Promise<Buffer>;
}

export interface KafkaOptions {
  readonly connection: KafkaConnection;
  /** Consumer group of this service's instances; each topic has one of its own, `<group>.<topic>`. */
  readonly group: string;
  /** Stands before the names of all topics. */
  readonly topicPrefix?: string;
  readonly macKeys: MacKeys;
  readonly admission: Admission;
  readonly counters: TransportCounters;
  /**
   * A message that can't be used and lies in the DLQ: the backup that its header names has to fail with this error. Where
   * it could not be parsed, `message` is that header's `backupId` alone. Comes again
   * until it resolves, and may do so twice. Not called for forged messages, which are no matter of the backup's.
   */
  readonly onPoison: (topic: Topic, message: unknown, error: unknown) => Promise<void>;
  /** A consumer has ended for good: the process has to end too, or it would live on and do nothing. */
  readonly onCrash: (topic: Topic, error: TmError) => void;
  /** Messages that are handed to a handler at once; the default is 8. */
  readonly batch?: number;
  /** Deliveries of a message whose error may be retried, before it counts as poison. Without end by default. */
  readonly tries?: number;
  /** Milliseconds to wait after delivery n (1, 2 …) failed. */
  readonly backoffMs?: (attempt: number) => number;
  /** Milliseconds after which a message of a newer schema is looked at again; the default is 30,000. */
  readonly newerMs?: number;
  /** Messages that are on their way to Kafka at most; the default is 64, and 16 MiB of them. */
  readonly capacity?: number;
  /** Milliseconds of silence after which a consumer counts as dead; the default is 30,000. */
  readonly sessionTimeoutMs?: number;
}
