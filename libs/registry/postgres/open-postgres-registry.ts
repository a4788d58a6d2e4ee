import type {
  JournalHead,
  JournalTable,
  OutboxRow,
  OutboxTable,
  Registry,
  StoreLock,
  StoreRow,
} from '../port.ts';
import { setHead } from './backup-rows.ts';
import { PostgresBackups } from './backups-table.ts';
import { PostgresBlocks } from './blocks-table.ts';
import { Database, openPool } from './database.ts';
import { PostgresEntries } from './entries-table.ts';
import { migrate } from './migrate.ts';
import { SlotLocks } from './slot-locks.ts';

export type PostgresConnection =
  | string
  | {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly password: string;
      readonly database: string;
    };

const CONNECTIONS = 6;
const WRITER_CLASS = 0x746d0003;
const STORE_LOCK = 0x746d0004;

class PostgresOutbox implements OutboxTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async pending(limit: number): Promise<OutboxRow[]> {
    const { rows } = await this.#db.query(
      `select o.id, o.source as "sourceId", s.uid as "sourceUid", o.event_no as "eventNo", o.type, o.time, o.data
       from outbox o join sources s on s.id = o.source where not o.published order by o.source, o.event_no limit $1`,
      [limit],
    );
    return rows;
  }

  async published(ids: readonly number[]): Promise<void> {
    await this.#db.query('update outbox set published = true where id = any($1::bigint[])', [ids]);
  }
}

class PostgresJournal implements JournalTable {
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

  async heads(): Promise<JournalHead[]> {
    return (await this.#db.query('select writer, number, chain from journal_heads order by writer')).rows;
  }

  async setHead(head: JournalHead): Promise<void> {
    await this.#db.transaction((client) => setHead(client, head));
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

  async withStoreLock<T>(mode: StoreLock, work: (stillHeld: () => Promise<void>) => Promise<T>): Promise<T> {
    const [take, free] = {
      shared: ['pg_advisory_lock_shared($1)', 'pg_advisory_unlock_shared($1)'],
      exclusive: ['pg_advisory_lock($1)', 'pg_advisory_unlock($1)'],
      'exclusive-now': ['pg_try_advisory_lock($1)', 'pg_advisory_unlock($1)'],
    }[mode] as [string, string];
    return this.#db.locked({ take, free, values: [STORE_LOCK] }, work);
  }
}

/** Opens the registry in a Postgres database and brings its tables up to date. Throws TM1301, TM1303, TM1304. */
export async function openPostgresRegistry({
  connection,
}: {
  readonly connection: PostgresConnection;
}): Promise<Registry> {
  const config = typeof connection === 'string' ? { connectionString: connection } : { ...connection };
  const pool = openPool({ ...config, max: CONNECTIONS, application_name: 'tidemark' });
  const db = new Database(pool);
  const slots = new SlotLocks({ ...config, application_name: 'tidemark slot' });
  try {
    await db.query('select 1');
    await migrate(pool, connection);
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    backups: new PostgresBackups(db, slots),
    entries: new PostgresEntries(db),
    blocks: new PostgresBlocks(db),
    outbox: new PostgresOutbox(db),
    journal: new PostgresJournal(db),
    now: () => db.now(),
    async isEmpty() {
      return (
        await db.query(
          'select not exists (select 1 from sources) and not exists (select 1 from blocks) as empty',
        )
      ).rows[0].empty;
    },
    async clear() {
      await db.query(
        'truncate meta, domains, sources, backups, pieces, entries, problems, packs, blocks, outbox, journal_heads restart identity',
      );
    },
    async close() {
      await slots.close();
      await pool.end();
    },
  };
}
