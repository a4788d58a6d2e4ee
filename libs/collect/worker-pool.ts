import { Worker } from 'node:worker_threads';
import type { SealedFrame } from '../blocks/intake.ts';
import { TmError } from '../model/errors.ts';
import { reviveError } from '../model/sent-error.ts';
import { endWorker } from '../posix/index.ts';
import type { BackupStart, FromWorker, Task, TaskResult, ToWorker, WorkerSetup } from './protocol.ts';

const SCRIPT = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** Tasks a worker has at once: three lanes at work and one waiting. */
const TASKS_EACH = 4;
/** Tasks of every worker at which another one is started. */
const BUSY_TASKS = 2;
/** What a worker makes in passing: enough for several tasks, where the default would be 48 MiB. */
const YOUNG_MB = 12;

export interface PoolEvents {
  /** `bytes`: content of the blocks. */
  missing(task: number, ids: Buffer, bytes: number): Promise<Uint8Array>;
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

const RESTING: PoolEvents = {
  missing: async (_, ids) => new Uint8Array(ids.length / 32),
  frames: async () => {},
  result: () => {},
  failed: () => {},
};

interface Slot {
  readonly worker: Worker;
  tasks: number;
}

/** The worker threads that read, cut, hash, compress and encrypt. */
export class WorkerPool {
  /** Those that were started: few changes need one only. */
  readonly #workers: Slot[] = [];
  #setups: readonly WorkerSetup[];
  #events: PoolEvents;
  #isBroken = false;
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
    const slot = { worker, tasks: 0 };
    worker.on('message', (message: FromWorker) => void this.#handle(slot, message));
    worker.on('error', (error) => this.#fail(error));
    worker.on('exit', (code) => {
      if (!this.#closing) this.#fail(new TmError('TM1099', `a worker ended with ${code}`));
    });
    this.#workers.push(slot);
    return slot;
  }

  #fail(error: unknown): void {
    this.#isBroken = true;
    this.#events.failed(error);
  }

  /** Workers that were started. */
  get size(): number {
    return this.#workers.length;
  }

  /** A worker has failed or ended: it is of no use to another backup. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** What follows is of another backup, of the same source and with the same keys. */
  begin(events: PoolEvents, start: BackupStart): void {
    this.#events = events;
    this.#setups = this.#setups.map((setup) => ({ ...setup, ...start }));
    for (const { worker } of this.#workers) {
      worker.ref();
      this.#post(worker, { type: 'begin', start });
    }
  }

  /** A backup is over and another one may begin; until then the pool keeps no process from ending. */
  rest(): void {
    this.#events = RESTING;
    for (const { worker } of this.#workers) worker.unref();
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
        const missing = await this.#events.missing(message.task, asBuffer(message.ids), message.bytes);
        this.#post(slot.worker, { type: 'missing', lane: message.lane, missing });
      } else if (message.type === 'frames') {
        await this.#events.frames(message.task, message.frames.map(revive));
        this.#post(slot.worker, { type: 'accepted', lane: message.lane });
      } else {
        throw reviveError(message.error);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#isBroken = true;
    await Promise.all(this.#workers.map(({ worker }) => endWorker(worker)));
  }
}
