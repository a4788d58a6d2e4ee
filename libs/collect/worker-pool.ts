import { Worker } from 'node:worker_threads';
import type { SealedFrame } from '../blocks/intake.ts';
import { TmError } from '../model/errors.ts';
import type { FromWorker, Task, TaskResult, ToWorker, WorkerSetup } from './protocol.ts';

const SCRIPT = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** Tasks a worker has at once: two lanes at work and one waiting. */
const TASKS_EACH = 3;

export interface PoolEvents {
  missing(task: number, ids: Buffer): Promise<Uint8Array>;
  frames(task: number, frames: readonly SealedFrame[]): Promise<void>;
  result(result: TaskResult): void;
  failed(error: unknown): void;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function revive(frame: SealedFrame): SealedFrame {
  const blocks = frame.blocks.map((block) => ({
    ...block,
    id: asBuffer(block.id),
    children: asBuffer(block.children),
  }));
  return { ...frame, bytes: asBuffer(frame.bytes), keyId: asBuffer(frame.keyId), blocks };
}

/** The worker threads that read, cut, hash, compress and encrypt. */
export class WorkerPool {
  readonly #workers: { worker: Worker; tasks: number }[];
  readonly #events: PoolEvents;
  #closing = false;

  constructor(setups: readonly WorkerSetup[], events: PoolEvents) {
    this.#events = events;
    this.#workers = setups.map((setup) => {
      const worker = new Worker(SCRIPT, { workerData: setup, trackUnmanagedFds: false });
      const slot = { worker, tasks: 0 };
      worker.on('message', (message: FromWorker) => void this.#handle(slot, message));
      worker.on('error', (error) => events.failed(error));
      worker.on('exit', (code) => {
        if (!this.#closing) events.failed(new TmError('TM1099', `a worker ended with ${code}`));
      });
      return slot;
    });
  }

  /** True while another task may be given. */
  get ready(): boolean {
    return this.#workers.some((slot) => slot.tasks < TASKS_EACH);
  }

  get idle(): boolean {
    return this.#workers.every((slot) => slot.tasks === 0);
  }

  submit(task: Task): void {
    const slot = this.#workers.reduce((least, one) => (one.tasks < least.tasks ? one : least));
    slot.tasks++;
    this.#post(slot.worker, { type: 'task', task });
  }

  #post(worker: Worker, message: ToWorker): void {
    worker.postMessage(message);
  }

  async #handle(slot: { worker: Worker; tasks: number }, message: FromWorker): Promise<void> {
    try {
      if (message.type === 'result') {
        slot.tasks--;
        this.#events.result(message.result);
      } else if (message.type === 'ask') {
        const missing = await this.#events.missing(message.task, asBuffer(message.ids));
        this.#post(slot.worker, { type: 'answer', lane: message.lane, missing });
      } else if (message.type === 'frames') {
        await this.#events.frames(message.task, message.frames.map(revive));
        this.#post(slot.worker, { type: 'answer', lane: message.lane, missing: undefined });
      } else {
        throw new TmError('TM1099', message.message);
      }
    } catch (error) {
      this.#events.failed(error);
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#workers.map(({ worker }) => worker.terminate()));
  }
}
