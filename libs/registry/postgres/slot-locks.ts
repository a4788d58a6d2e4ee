import { setTimeout as wait } from 'node:timers/promises';
import pg, { type Client, type PoolClient, type QueryResult } from 'pg';
import { TmError } from '../../model/errors.ts';
import { translated } from './database.ts';

const SLOT_CLASS = 0x746d0002;
/** A dead holder's session, or one that settles what a dead one left, is gone in a moment. */
const TRIES = 20;
const PAUSE_MS = 50;

/**
 * Sources' slots as session advisory locks, on one connection that lives as long as a slot is held: when the holder
 * dies, Postgres frees them.
 */
export class SlotLocks {
  readonly #connect: () => Promise<Client>;
  readonly #held = new Set<number>();
  #client: Promise<Client> | undefined;
  /** One statement at a time: they share a connection. */
  #last: Promise<unknown> = Promise.resolve();

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

  /** Makes its connection, which is waited for when it is needed. */
  warm(): void {
    this.#session().catch(() => {});
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

  // biome-ignore lint/suspicious/noExplicitAny: rows are what the query names
  #query(text: string, source: number): Promise<QueryResult<any>> {
    const run = async () => (await this.#session()).query(text, [SLOT_CLASS, source]);
    const result = this.#last.then(run, run);
    this.#last = result.catch(() => {});
    return result;
  }

  async #tryTake(source: number): Promise<boolean> {
    return (await this.#query('select pg_try_advisory_lock($1, $2) as got', source)).rows[0].got;
  }

  /** Throws TM1501 while this or another process holds the slot; another one is given a second to be done. */
  async take(source: number): Promise<void> {
    if (this.#held.has(source)) throw new TmError('TM1501');
    this.#held.add(source);
    try {
      for (let tries = 1; !(await this.#tryTake(source)); tries++) {
        if (tries === TRIES) throw new TmError('TM1501');
        await wait(PAUSE_MS);
      }
    } catch (error) {
      this.#held.delete(source);
      throw translated(error);
    }
  }

  /** For the client's transaction; TM1501 at once where any session has it. */
  async takeIn(client: PoolClient, source: number): Promise<void> {
    const { rows } = await client.query('select pg_try_advisory_xact_lock($1, $2) as got', [
      SLOT_CLASS,
      source,
    ]);
    if (!rows[0].got) throw new TmError('TM1501');
  }

  async free(source: number): Promise<void> {
    if (!this.#held.delete(source)) return;
    await this.#query('select pg_advisory_unlock($1, $2)', source);
  }

  /** Looks without taking, so that nobody is refused meanwhile. Two-key locks are those with objsubid 2. */
  async isHeld(source: number): Promise<boolean> {
    if (this.#held.has(source)) return true;
    const { rows } = await this.#query(
      `select exists (select 1 from pg_locks join pg_database d on d.oid = database and d.datname = current_database()
         where locktype = 'advisory' and classid = $1::int8 and objid = $2::int8 and objsubid = 2 and granted) as held`,
      source,
    );
    return rows[0].held;
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.end();
  }
}
