import { setImmediate } from 'node:timers/promises';
import { TmError } from '../../model/errors.ts';
import { type AdmittedBackup, backupOf, type InRecord, judge, type Verdict } from '../admission.ts';
import type { Handler, Topic, Topics } from '../port.ts';
import type { DeadLetters, Delivered } from './dead-letters.ts';
import type { KafkaOptions } from './kafka-options.ts';

/** How far a delivery came. */
export interface Delivery {
  /** Records from the front that are done with for good. */
  readonly done: number;
  /** The rest has to come again after so many milliseconds. */
  readonly waitMs?: number;
  /** One of the records can't be handled: they have to come one by one, so that it is known which. */
  readonly isolate?: boolean;
}

const NO_VALUE = Buffer.alloc(0);
const NEWER_MS = 30_000;
const MAX_BACKOFF_MS = 30_000;

const recordOf = ({ headers, value }: Delivered): InRecord => ({ headers, value: value ?? NO_VALUE });
/** Of the backups that are named, each once. */
const idsOf = (records: readonly Delivered[]): string[] => [
  ...new Set(records.map((record) => backupOf(recordOf(record))).filter((id) => id !== undefined)),
];
const isWaiting = (verdict: Verdict<Topic>): boolean => verdict.kind === 'wait';
const defaultBackoff = (attempt: number): number => Math.min(MAX_BACKOFF_MS, 50 * 2 ** Math.min(attempt, 10));

/** Brings records of one topic to their handler, and what can't be handled elsewhere. Knows nothing of offsets. */
export class Deliverer<T extends Topic> {
  readonly #topic: T;
  readonly #handler: Handler<T>;
  readonly #letters: Pick<DeadLetters, 'put'>;
  readonly #options: KafkaOptions;
  /** Failed deliveries one after the other, by partition. */
  readonly #attempts = new Map<number, number>();

  constructor(topic: T, handler: Handler<T>, letters: Pick<DeadLetters, 'put'>, options: KafkaOptions) {
    this.#topic = topic;
    this.#handler = handler;
    this.#letters = letters;
    this.#options = options;
  }

  /** Of records of one partition, in order. Nothing is done in part: what is not done comes again whole. */
  async deliver(records: readonly Delivered[], signal: AbortSignal): Promise<Delivery> {
    const { partition } = records[0]!;
    try {
      const verdicts = await this.#judge(records);
      const waiting = verdicts.findIndex(isWaiting);
      const known = waiting < 0 ? verdicts : verdicts.slice(0, waiting);
      const failure = await this.#handle(known, signal);
      if (failure) {
        if (this.#mayRetry(partition, failure.error)) return this.#again(records, failure.error);
        if (failure.messages > 1) return { done: 0, isolate: true };
      }
      for (const [i, verdict] of known.entries()) await this.#settle(records[i]!, verdict, failure?.error);
      this.#attempts.delete(partition);
      return waiting < 0 ? { done: known.length } : this.#untilUpgrade(known.length);
    } catch (error) {
      this.#fail(partition);
      return this.#again(records, error);
    }
  }

  /** Reading a record takes milliseconds: whoever else the process serves has a turn between two of them. */
  async #judge(records: readonly Delivered[]): Promise<Verdict<T>[]> {
    const admitted = await this.#admit(records);
    const verdicts: Verdict<T>[] = [];
    for (const delivered of records) {
      if (verdicts.length > 0) await setImmediate();
      const record = recordOf(delivered);
      verdicts.push(judge(this.#topic, record, admitted.get(backupOf(record) ?? '')));
    }
    return verdicts;
  }

  async #admit(records: readonly Delivered[]): Promise<ReadonlyMap<string, AdmittedBackup>> {
    if (this.#topic === 'commits') return new Map();
    const ids = idsOf(records);
    return ids.length === 0 ? new Map() : this.#options.admission.admit(ids);
  }

  /** What the handler threw, and how many messages it had; undefined when it took them. */
  async #handle(
    verdicts: readonly Verdict<T>[],
    signal: AbortSignal,
  ): Promise<{ error: unknown; messages: number } | undefined> {
    const messages: Topics[T][] = [];
    for (const verdict of verdicts) if (verdict.kind === 'take') messages.push(verdict.message);
    if (messages.length === 0) return undefined;
    try {
      await this.#handler(messages, signal);
      return undefined;
    } catch (error) {
      return { error: error ?? new TmError('TM1099'), messages: messages.length };
    }
  }

  #fail(partition: number): number {
    const attempt = (this.#attempts.get(partition) ?? 0) + 1;
    this.#attempts.set(partition, attempt);
    return attempt;
  }

  #mayRetry(partition: number, error: unknown): boolean {
    if (!(error instanceof TmError) || !error.spec.retry) return false;
    return this.#fail(partition) < (this.#options.tries ?? Number.POSITIVE_INFINITY);
  }

  #again(records: readonly Delivered[], error: unknown): Delivery {
    const { partition } = records[0]!;
    const { counters, connection, backoffMs = defaultBackoff } = this.#options;
    const attempt = this.#attempts.get(partition) ?? 1;
    counters.add('retried', this.#topic, 1);
    connection.log?.('warn', `a delivery failed: ${String(error)}`, {
      backup: idsOf(records).join(' ') || undefined,
      topic: this.#topic,
      partition,
      attempt,
    });
    return { done: 0, waitMs: backoffMs(attempt) };
  }

  #untilUpgrade(done: number): Delivery {
    const { counters, newerMs = NEWER_MS } = this.#options;
    counters.add('newer', this.#topic, 1);
    return { done, waitMs: newerMs };
  }

  /** Finishes with one record; `failure` is what the handler said of the only message that it had. */
  async #settle(record: Delivered, verdict: Verdict<T>, failure: unknown): Promise<void> {
    const { counters } = this.#options;
    const topic = this.#topic;
    if (verdict.kind === 'drop') counters.add(verdict.counter, topic, 1);
    else if (verdict.kind === 'dead') {
      const { backupId } = verdict;
      await this.#bury(record, verdict.error, backupId === undefined ? undefined : { header: { backupId } });
      counters.add(verdict.counter, topic, 1);
    } else if (verdict.kind === 'take' && failure !== undefined) {
      await this.#bury(record, failure, verdict.message);
      counters.add('poisoned', topic, 1);
    }
    counters.add('messagesIn', topic, 1);
    counters.add('bytesIn', topic, record.value?.length ?? 0);
  }

  async #bury(record: Delivered, error: unknown, message: unknown): Promise<void> {
    await this.#letters.put(record, error instanceof TmError ? error : new TmError('TM1099', String(error)));
    if (message !== undefined) await this.#options.onPoison(this.#topic, message, error);
  }
}
