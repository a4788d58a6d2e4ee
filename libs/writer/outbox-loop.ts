import type { OutboxTable, PendingWatch } from '../registry/port.ts';
import type { Transport } from '../transport/port.ts';
import { publishPending } from './outbox-publisher.ts';

/** Milliseconds after which the outbox is looked at without having been told of anything. */
const LOOK_MS = 5000;

/** Publishes the outbox's events as they come, while no other process does. */
export class OutboxLoop {
  readonly #outbox: OutboxTable;
  readonly #transport: Pick<Transport, 'publish'>;
  readonly #onError: (error: unknown) => void;
  #watch: PendingWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(outbox: OutboxTable, transport: Pick<Transport, 'publish'>, onError: (error: unknown) => void) {
    this.#outbox = outbox;
    this.#transport = transport;
    this.#onError = onError;
  }

  start(): void {
    this.#watch = this.#outbox.onPending(() => this.#wake());
    this.#timer = setInterval(() => this.#wake(), LOOK_MS);
  }

  #wake(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.#outbox.publishing(async (stillMine) => {
          await stillMine();
          await publishPending(this.#outbox, this.#transport);
        });
      } catch (error) {
        this.#onError(error); // what was not published waits for the next look
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#watch?.close();
    await this.#running;
  }
}
