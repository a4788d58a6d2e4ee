import pg from 'pg';
import type { PendingWatch } from '../port.ts';
import { PENDING_CHANNEL } from './backup-rows.ts';

/** Until the next try to connect. */
const PAUSE_MS = 500;

/** Listens, on a connection of its own, for events that come into the outbox; connects again whenever that breaks. */
export class OutboxWatch implements PendingWatch {
  readonly #config: pg.ClientConfig;
  readonly #callback: () => void;
  readonly #onClose: () => void;
  #client: pg.Client | undefined;
  #connecting: Promise<void>;
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(config: pg.ClientConfig, callback: () => void, onClose: () => void) {
    this.#config = { ...config, keepAlive: true };
    this.#callback = callback;
    this.#onClose = onClose;
    this.#connecting = this.#connect();
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(this.#config);
    let lost = false;
    const again = () => {
      if (lost) return;
      lost = true;
      this.#client = undefined;
      client.end().catch(() => {});
      if (this.#closed) return;
      this.#pause = setTimeout(() => {
        this.#connecting = this.#connect();
      }, PAUSE_MS);
    };
    client.on('error', again);
    client.on('end', again);
    client.on('notification', () => this.#callback());
    try {
      await client.connect();
      await client.query(`listen ${PENDING_CHANNEL}`);
    } catch {
      return again();
    }
    if (lost) return;
    this.#client = client;
    if (!this.#closed) this.#callback(); // whatever came while nobody listened
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#pause);
    await this.#connecting;
    await this.#client?.end();
    this.#onClose();
  }
}
