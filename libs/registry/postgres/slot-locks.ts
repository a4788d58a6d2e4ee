import pg, { type Client } from 'pg';
import { TmError } from '../../model/errors.ts';
import { translated } from './database.ts';

const SLOT_CLASS = 0x746d0002;

/**
 * Sources' slots as session advisory locks, on one connection that lives as long as a slot is held: when the holder
 * dies, Postgres frees them.
 */
export class SlotLocks {
  readonly #connect: () => Promise<Client>;
  readonly #held = new Set<number>();
  #client: Promise<Client> | undefined;

  constructor(config: pg.ClientConfig) {
    this.#connect = async () => {
      const client = new pg.Client(config);
      client.on('error', () => {
        this.#client = undefined;
      });
      await client.connect();
      return client;
    };
  }

  async #session(): Promise<Client> {
    this.#client ??= this.#connect();
    try {
      return await this.#client;
    } catch (error) {
      this.#client = undefined;
      throw translated(error);
    }
  }

  /** Throws TM1501 while this or another process holds the slot. */
  async take(source: number): Promise<void> {
    if (this.#held.has(source)) throw new TmError('TM1501');
    this.#held.add(source);
    try {
      const { rows } = await (await this.#session()).query('select pg_try_advisory_lock($1, $2) as got', [
        SLOT_CLASS,
        source,
      ]);
      if (!rows[0].got) throw new TmError('TM1501');
    } catch (error) {
      this.#held.delete(source);
      throw translated(error);
    }
  }

  async free(source: number): Promise<void> {
    if (!this.#held.delete(source)) return;
    await (await this.#session()).query('select pg_advisory_unlock($1, $2)', [SLOT_CLASS, source]);
  }

  async isHeld(source: number): Promise<boolean> {
    if (this.#held.has(source)) return true;
    const session = await this.#session();
    const { rows } = await session.query('select pg_try_advisory_lock($1, $2) as got', [SLOT_CLASS, source]);
    if (rows[0].got) await session.query('select pg_advisory_unlock($1, $2)', [SLOT_CLASS, source]);
    return !rows[0].got;
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.end();
  }
}
