import { setTimeout as sleep } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';
import type { Handler, Topic, Topics, Transport } from './port.ts';

export interface DirectOptions {
  /** Tries of a message whose error may be retried, before it counts as poison. Default: 8. */
  readonly tries?: number;
  /** Waits before try n (1, 2 …). Default: 0.2 s, doubled up to 5 s. */
  readonly backoff?: (attempt: number) => Promise<void>;
  /** Milliseconds after which `publish` waits no longer for a handler that is merely slow. Default: 10,000. */
  readonly patienceMs?: number;
  /** A message that cannot be handled; it is dropped afterwards. */
  readonly onPoison: (topic: Topic, message: unknown, error: unknown) => Promise<void>;
}

/** One message on its way: `failure` is that of its last try. */
interface Delivery {
  done: Promise<void>;
  failure: unknown;
}

/** Nobody else takes the messages of this process. */
const NEVER = new AbortController().signal;
const LONGEST_MS = 5000;

/**
 * Messages of many backups within one process, without a queue that a crash would lose: `publish` resolves when the
 * handler is done, so that what was accepted has had its effect, and a publisher whose request broke off publishes
 * again. Backups go side by side, one backup's messages one after the other. A handler that goes on for long, as at a
 * commit, is not waited for; one that failed and will be tried again is not acknowledged meanwhile.
 */
export class DirectTransport implements Transport {
  readonly #options: Required<DirectOptions>;
  readonly #handlers = new Map<Topic, PromiseWithResolvers<Handler<Topic>>>();
  /** The last delivery of each topic and key. */
  readonly #last = new Map<string, Promise<void>>();
  #closed = false;

  constructor(options: DirectOptions) {
    const backoff = async (attempt: number) => {
      await sleep(Math.min(100 * 2 ** attempt, LONGEST_MS), undefined, { ref: false });
    };
    this.#options = { tries: 8, backoff, patienceMs: 10_000, ...options };
  }

  async publish<T extends Topic>(topic: T, messages: readonly Topics[T][]): Promise<void> {
    for (const message of messages) {
      if (this.#closed) throw closed();
      await this.#patiently(this.#deliver(topic, message));
    }
  }

  async #patiently(delivery: Delivery): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    const patience = sleep(this.#options.patienceMs, undefined, { signal, ref: false }).then(
      () => {
        if (delivery.failure !== undefined) throw delivery.failure;
      },
      () => {},
    );
    try {
      await Promise.race([delivery.done, patience]);
    } finally {
      over.abort();
    }
  }

  #deliver(topic: Topic, message: unknown): Delivery {
    const key = `${topic} ${keyOf(message)}`;
    const delivery: Delivery = { done: Promise.resolve(), failure: undefined };
    const before = this.#last.get(key) ?? Promise.resolve();
    const done = before.then(() => this.#handle(topic, message, delivery));
    const settled = done.catch(() => {});
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    delivery.done = done;
    return delivery;
  }

  async #handle(topic: Topic, message: unknown, delivery: Delivery): Promise<void> {
    const handler = await this.#handlerOf(topic).promise;
    for (let attempt = 1; ; attempt++) {
      try {
        return await handler([message] as never, NEVER);
      } catch (error) {
        const mayRetry = error instanceof TmError && error.spec.retry;
        if (!mayRetry || attempt >= this.#options.tries)
          return await this.#options.onPoison(topic, message, error);
        delivery.failure = error;
        await this.#options.backoff(attempt);
        if (this.#closed) throw closed(); // whoever waits for it publishes again, elsewhere
      }
    }
  }

  #handlerOf(topic: Topic): PromiseWithResolvers<Handler<Topic>> {
    const known = this.#handlers.get(topic);
    if (known) return known;
    const made = Promise.withResolvers<Handler<Topic>>();
    made.promise.catch(() => {});
    this.#handlers.set(topic, made);
    return made;
  }

  subscribe<T extends Topic>(topic: T, handler: Handler<T>): void {
    this.#handlerOf(topic).resolve(handler as unknown as Handler<Topic>);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#handlers.values()) reject(closed());
    await Promise.all(this.#last.values());
  }
}

const closed = (): TmError => new TmError('TM1508', 'the stream is closed');

/** Of a backup's messages the backup, of commits the source. */
function keyOf(message: unknown): string {
  const { header, source } = message as { header?: { backupId: string }; source?: string };
  return header?.backupId ?? source ?? '';
}
