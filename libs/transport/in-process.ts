import { TmError } from '../model/errors.ts';
import type { Handler, Topic, Topics, Transport } from './port.ts';

export interface InProcessOptions {
  /** Messages a topic holds before `publish` waits, those at the handler included; one is 512 KiB at most. */
  readonly capacity?: number;
  /** Messages handed to a handler at once. */
  readonly batch?: number;
  /** Tries of a message whose error may be retried, before it counts as poison. */
  readonly tries?: number;
  /** Waits before try n (1, 2 …). */
  readonly backoff?: (attempt: number) => Promise<void>;
  /** A message that cannot be handled; it is dropped afterwards. */
  readonly onPoison: (topic: Topic, message: unknown, error: unknown) => Promise<void>;
}

/** Nobody else takes the messages of this process. */
const NEVER = new AbortController().signal;

/** One topic: a bounded queue and the loop that empties it. */
class Queue {
  readonly #waiting: unknown[] = [];
  readonly #space: (() => void)[] = [];
  readonly #topic: Topic;
  readonly #options: Required<InProcessOptions>;
  #handler: Handler<Topic> | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(topic: Topic, options: Required<InProcessOptions>) {
    this.#topic = topic;
    this.#options = options;
  }

  /** Those that there is space for are handed on together. */
  async push(messages: readonly unknown[]): Promise<void> {
    for (const message of messages) {
      while (this.#waiting.length >= this.#options.capacity && !this.#closed) {
        this.#start();
        await new Promise<void>((resolve) => this.#space.push(resolve));
      }
      if (this.#closed) throw new TmError('TM1508', 'the stream is closed');
      this.#waiting.push(message);
    }
    this.#start();
  }

  subscribe(handler: Handler<Topic>): void {
    this.#handler = handler;
    this.#start();
  }

  #start(): void {
    if (this.#running || !this.#handler || this.#waiting.length === 0 || this.#closed) return;
    this.#running = this.#drain(this.#handler).finally(() => {
      this.#running = undefined;
      this.#start();
    });
  }

  async #drain(handler: Handler<Topic>): Promise<void> {
    let singly = 0;
    while (this.#waiting.length > 0 && !this.#closed) {
      const messages = this.#waiting.slice(0, singly > 0 ? 1 : this.#options.batch);
      const isDone = await this.#deliver(handler, messages);
      singly = isDone ? Math.max(0, singly - 1) : messages.length;
      if (isDone) this.#waiting.splice(0, messages.length);
      for (const free of this.#space.splice(0)) free();
    }
  }

  /** False: one of the messages can't be handled; they have to come one by one. */
  async #deliver(handler: Handler<Topic>, messages: unknown[]): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await handler(messages as never, NEVER);
        return true;
      } catch (error) {
        const retry = error instanceof TmError && error.spec.retry && attempt < this.#options.tries;
        if (retry && !this.#closed) {
          await this.#options.backoff(attempt);
          continue;
        }
        if (messages.length > 1) return false;
        await this.#options.onPoison(this.#topic, messages[0], error);
        return true;
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const free of this.#space.splice(0)) free();
    await this.#running;
  }
}

/** The stages' messages within one process, by reference. */
export class InProcessTransport implements Transport {
  readonly #queues: Record<Topic, Queue>;

  constructor(options: InProcessOptions) {
    const full = {
      capacity: 8,
      batch: 4,
      tries: 5,
      backoff: (attempt: number) => new Promise<void>((resolve) => setTimeout(resolve, 50 * 2 ** attempt)),
      ...options,
    };
    this.#queues = {
      'change-events': new Queue('change-events', full),
      'delta-sets': new Queue('delta-sets', full),
      commits: new Queue('commits', full),
    };
  }

  async publish<T extends Topic>(topic: T, messages: readonly Topics[T][]): Promise<void> {
    await this.#queues[topic].push(messages);
  }

  subscribe<T extends Topic>(topic: T, handler: Handler<T>): void {
    this.#queues[topic].subscribe(handler as unknown as Handler<Topic>);
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close()));
  }
}
