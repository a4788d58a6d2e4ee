import { Worker } from 'node:worker_threads';
import type { SealedFrame } from '../blocks/intake.ts';
import { TmError } from '../model/errors.ts';
import { reviveError } from '../model/sent-error.ts';
import type { FromWorker, Task, TaskResult, ToWorker, WorkerSetup } from './protocol.ts';

const SCRIPT = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** Tasks a worker has at once: two lanes at work and one waiting. */
const TASKS_EACH = 3;
/** Tasks of every worker at which another one is started. */
const BUSY_TASKS = 2;
/** What a worker makes in passing: enough for several tasks, where the default would be 48 MiB. */
const YOUNG_MB = 12;
/** Milliseconds that a worker has to end the one call that it is in. */
const STUCK_MS = 2000;

export interface PoolEvents {
  missing(task: number, ids: Buffer): Promise<Uint8Array>;
  frames(task: number, frames: readonly SealedFrame[]): Promise<void>;
  result(result: TaskResult): void;
  failed(error: unknown): void;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const revive = (frame: SealedFrame): SealedFrame => ({
  plainLength: frame.plainLength,
  bytes: asBuffer(frame.bytes),
  checksum: asBuffer(frame.checksum),
  keyId: asBuffer(frame.keyId),
  index: asBuffer(frame.index),
});

interface Slot {
  readonly worker: Worker;
  readonly ended: Promise<unknown>;
  tasks: number;
}

/** The worker frees its native memory and ends; one that is stuck is made to end. */
async function end({ worker, ended }: Slot): Promise<void> {
  worker.postMessage({ type: 'close' } satisfies ToWorker);
  const stuck = setTimeout(() => void worker.terminate(), STUCK_MS);
  await ended;
  clearTimeout(stuck);
}

/** The worker threads that read, cut, hash, compress and encrypt. */
export class WorkerPool {
  /** Those that were started: few changes need one only. */
  readonly #workers: Slot[] = [];
  readonly #setups: readonly WorkerSetup[];
  readonly #events: PoolEvents;
  #closing = false;

  constructor(setups: readonly WorkerSetup[], events: PoolEvents) {
    this.#events = events;
    this.#setups = setups;
  }

  #start(setup: WorkerSetup): Slot {
    const worker = new Worker(SCRIPT, {
      workerData: setup,
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const slot = { worker, ended, tasks: 0 };
    worker.on('message', (message: FromWorker) => void this.#handle(slot, message));
    worker.on('error', (error) => this.#events.failed(error));
    worker.on('exit', (code) => {
      if (!this.#closing) this.#events.failed(new TmError('TM1099', `a worker ended with ${code}`));
    });
    this.#workers.push(slot);
    return slot;
  }

  /** True while another task may be given. */
  get ready(): boolean {
    return this.#nextSetup !== undefined || this.#workers.some((slot) => slot.tasks < TASKS_EACH);
  }

  get #nextSetup(): WorkerSetup | undefined {
    return this.#setups[this.#workers.length];
  }

  get idle(): boolean {
    return this.#workers.every((slot) => slot.tasks === 0);
  }

  submit(task: Task): void {
    const isBusy = this.#workers.every((one) => one.tasks >= BUSY_TASKS);
    const setup = isBusy ? this.#nextSetup : undefined;
    const slot = setup
      ? this.#start(setup)
      : this.#workers.reduce((least, one) => (one.tasks < least.tasks ? one : least));
    slot.tasks++;
    this.#post(slot.worker, { type: 'task', task }, [task.items.buffer as ArrayBuffer]);
  }

  #post(worker: Worker, message: ToWorker, moved: ArrayBuffer[] = []): void {
    worker.postMessage(message, moved);
  }

  async #handle(slot: Slot, message: FromWorker): Promise<void> {
    try {
      if (message.type === 'result') {
        slot.tasks--;
        this.#events.result(message.result);
      } else if (message.type === 'ask') {
        const missing = await this.#events.missing(message.task, asBuffer(message.ids));
        this.#post(slot.worker, { type: 'missing', lane: message.lane, missing });
      } else if (message.type === 'frames') {
        await this.#events.frames(message.task, message.frames.map(revive));
        this.#post(slot.worker, { type: 'accepted', lane: message.lane });
      } else {
        throw reviveError(message.error);
      }
    } catch (error) {
      this.#events.failed(error);
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#workers.map(end));
  }
}
