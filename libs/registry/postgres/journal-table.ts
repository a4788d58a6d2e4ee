import { randomUUID } from 'node:crypto';
import type { JournalHead, JournalTable, NewStore, StoreLock, StoreRow } from '../port.ts';
import { setHead } from './backup-rows.ts';
import type { Database } from './database.ts';
import { STORE_LOCK } from './store-lock.ts';

const WRITER_CLASS = 0x746d0003;

export class PostgresJournal implements JournalTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async store(): Promise<StoreRow | undefined> {
    return (await this.#db.query(`select value from meta where key = 'store'`)).rows[0]?.value;
  }

  async setStore(row: StoreRow): Promise<void> {
    await this.#db.query(
      `insert into meta (key, value) values ('store', $1) on conflict (key) do update set value = excluded.value`,
      [row],
    );
  }

  async newStore(): Promise<NewStore> {
    const { rows } = await this.#db.query(
      `insert into meta (key, value) values ('new-store', $1)
       on conflict (key) do update set value = meta.value returning value`,
      [{ storeId: randomUUID(), registryId: randomUUID(), time: (await this.#db.now()).toISOString() }],
    );
    return rows[0].value;
  }

  async heads(): Promise<JournalHead[]> {
    return (await this.#db.query('select writer, number, chain from journal_heads order by writer')).rows;
  }

  async setHead(head: JournalHead): Promise<void> {
    await this.#db.transaction((client) => setHead(client, head));
  }

  async lanes(count: number): Promise<string[]> {
    const candidates = Array.from({ length: count }, () => randomUUID());
    const { rows } = await this.#db.query(
      `insert into meta (key, value) values ('lanes', $1)
       on conflict (key) do update set value = meta.value || coalesce(
         (select jsonb_agg(one) from jsonb_array_elements(excluded.value) with ordinality as added(one, at)
          where at > jsonb_array_length(meta.value)), '[]')
       returning value`,
      [JSON.stringify(candidates)],
    );
    return rows[0].value.slice(0, count);
  }

  async withWriter<T>(writer: string, work: () => Promise<T>): Promise<T> {
    const values = [WRITER_CLASS, writer];
    const lock = {
      take: 'pg_advisory_lock($1, hashtext($2))',
      free: 'pg_advisory_unlock($1, hashtext($2))',
      values,
    };
    return this.#db.locked(lock, work);
  }

  async withStoreAndWriter<T>(writer: string, work: () => Promise<T>): Promise<T> {
    const lock = {
      take: 'pg_advisory_lock_shared($1), pg_advisory_lock($2, hashtext($3))',
      free: 'pg_advisory_unlock($2, hashtext($3)), pg_advisory_unlock_shared($1)',
      values: [STORE_LOCK, WRITER_CLASS, writer],
    };
    return this.#db.locked(lock, work);
  }

  async withStoreLock<T>(mode: StoreLock, work: (stillHeld: () => Promise<void>) => Promise<T>): Promise<T> {
    const [take, free] = {
      shared: ['pg_advisory_lock_shared($1)', 'pg_advisory_unlock_shared($1)'],
      exclusive: ['pg_advisory_lock($1)', 'pg_advisory_unlock($1)'],
      'exclusive-now': ['pg_try_advisory_lock($1)', 'pg_advisory_unlock($1)'],
    }[mode] as [string, string];
    return this.#db.locked({ take, free, values: [STORE_LOCK] }, work);
  }
}
