import { Worker } from 'node:worker_threads';
import { TmError } from '../model/errors.ts';
import { reviveError, sendError } from '../model/sent-error.ts';
import { endWorker } from '../posix/index.ts';
import type { PoolSupplier } from './block-supplier.ts';
import { asBuffer, type FromThread, ownMemory, type Question, type ToThread } from './thread-messages.ts';

/** Tasks that a thread has at once: while one waits for an answer, the other one works. */
const TASKS_EACH = 2;

/** Small: what is read is garbage soon, and holds memory outside of the heap until it is collected. */
const YOUNG_GENERATION_MB = 4;

interface Thread {
  readonly worker: Worker;
  tasks: number;
}

interface Waiting<R> {
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/** Does tasks; who gives them waits for `ready` in between, which bounds what is under way. */
export interface TaskPool<T, R> {
  ready(): Promise<void>;
  run(task: T): Promise<R>;
  close(): Promise<void>;
}

/** Threads that do tasks and ask this one for blocks, which holds registry, store and keys. */
export class ThreadPool<T, R> implements TaskPool<T, R> {
  readonly #supplier: PoolSupplier;
  readonly #threads: Thread[];
  readonly #running = new Map<number, Waiting<R>>();
  readonly #hungry: (() => void)[] = [];
  #next = 0;
  #failure: unknown;
  #closing = false;

  constructor(script: URL, setup: unknown, threads: number, supplier: PoolSupplier) {
    this.#supplier = supplier;
    this.#threads = Array.from({ length: threads }, () => {
      const worker = new Worker(script, {
        workerData: setup,
        trackUnmanagedFds: false,
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      });
      const thread = { worker, tasks: 0 };
      worker.on('message', (message: FromThread) => this.#take(thread, message));
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', (code) => {
        if (!this.#closing) this.#fail(new TmError('TM1099', `a thread ended with ${code}`));
      });
      return thread;
    });
  }

  async ready(): Promise<void> {
    while (!this.#failure && !this.#threads.some(({ tasks }) => tasks < TASKS_EACH))
      await new Promise<void>((resolve) => this.#hungry.push(resolve));
    if (this.#failure) throw this.#failure;
  }

  run(work: T): Promise<R> {
    if (this.#failure) return Promise.reject(this.#failure);
    const thread = this.#threads.reduce((least, one) => (one.tasks < least.tasks ? one : least));
    const task = this.#next++;
    thread.tasks++;
    return new Promise<R>((resolve, reject) => {
      this.#running.set(task, { resolve, reject });
      this.#post(thread, { type: 'task', task, work });
    });
  }

  #post(thread: Thread, message: ToThread, transfer: ArrayBuffer[] = []): void {
    thread.worker.postMessage(message, transfer);
  }

  #take(thread: Thread, message: FromThread): void {
    if (message.type !== 'done' && message.type !== 'failed') {
      void this.#answer(thread, message);
      return;
    }
    const waiting = this.#running.get(message.task);
    this.#running.delete(message.task);
    thread.tasks--;
    this.#supplier.count(message.read);
    if (message.type === 'done') waiting?.resolve(message.result as R);
    else waiting?.reject(reviveError(message.error));
    this.#wake();
  }

  async #answer(thread: Thread, message: Question): Promise<void> {
    const { call } = message;
    try {
      const bytes = await this.#ask(message);
      this.#post(thread, { type: 'answer', call, bytes }, message.type === 'key' ? [] : ownMemory(bytes));
    } catch (error) {
      this.#post(thread, { type: 'refused', call, error: sendError(error) });
    }
  }

  async #ask(message: Question): Promise<Buffer> {
    if (message.type === 'locate') return this.#supplier.locate(asBuffer(message.ids));
    if (message.type === 'file') return Buffer.from(this.#supplier.fileOf?.(asBuffer(message.pack)) ?? '');
    if (message.type === 'key') return this.#supplier.key(asBuffer(message.id));
    return this.#supplier.read(asBuffer(message.pack), message.offset, message.length);
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of this.#running.values()) reject(error);
    this.#running.clear();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#hungry.splice(0)) resolve();
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#threads.map(({ worker }) => endWorker(worker)));
  }
}

/** The same in this thread, for few tasks: threads take longer to start than those to do. */
export class InlinePool<T, R> implements TaskPool<T, R> {
  readonly #work: (task: T) => Promise<R>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(work: (task: T) => Promise<R>) {
    this.#work = work;
  }

  async ready(): Promise<void> {
    await this.#last;
  }

  run(task: T): Promise<R> {
    const done = this.#last.then(() => this.#work(task));
    this.#last = done.catch(() => {});
    return done;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
