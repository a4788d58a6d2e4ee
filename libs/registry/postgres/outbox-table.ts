import type { ClientConfig } from 'pg';
import { TmError } from '../../model/errors.ts';
import type { OutboxRow, OutboxTable } from '../port.ts';
import type { Database } from './database.ts';
import { OutboxWatch } from './outbox-watch.ts';

const PUBLISHER_LOCK = 0x746d0006;

export class PostgresOutbox implements OutboxTable {
  readonly #db: Database;
  readonly #config: ClientConfig;
  readonly #watches = new Set<OutboxWatch>();

  constructor(db: Database, config: ClientConfig) {
    this.#db = db;
    this.#config = config;
  }

  async pending(limit: number): Promise<OutboxRow[]> {
    // A source's events are numbered under the lock of its row, so their ids are in the order of their numbers.
    const { rows } = await this.#db.query(
      `select o.id, o.source as "sourceId", s.uid as "sourceUid", o.event_no as "eventNo", o.type, o.time, o.data
       from outbox o join sources s on s.id = o.source where not o.published order by o.id limit $1`,
      [limit],
    );
    return rows;
  }

  async published(ids: readonly number[]): Promise<void> {
    await this.#db.query('update outbox set published = true where id = any($1::bigint[])', [ids]);
  }

  async passOver(): Promise<void> {
    await this.#db.query(
      `update outbox set published = true
       where not published and not exists (select 1 from meta where key = 'lanes')`,
    );
  }

  async publishing(work: (stillMine: () => Promise<void>) => Promise<void>): Promise<boolean> {
    const lock = {
      take: 'pg_try_advisory_lock($1)',
      free: 'pg_advisory_unlock($1)',
      values: [PUBLISHER_LOCK],
    };
    let began = false;
    try {
      await this.#db.locked(lock, (stillMine) => {
        began = true;
        return work(stillMine);
      });
      return true;
    } catch (error) {
      if (!began && error instanceof TmError && error.code === 'TM1501') return false;
      throw error;
    }
  }

  onPending(callback: () => void): OutboxWatch {
    const watch = new OutboxWatch(this.#config, callback, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    return watch;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#watches].map((watch) => watch.close()));
  }
}
