import type { PoolClient } from 'pg';
import type { Registry } from '../port.ts';
import { PostgresAccess } from './access-table.ts';
import { PostgresBackups } from './backups-table.ts';
import { PostgresBlocks } from './blocks-table.ts';
import { PostgresCatalogue } from './catalogue-table.ts';
import { Database, openPool } from './database.ts';
import { PostgresDomains } from './domains-table.ts';
import { PostgresEntries } from './entries-table.ts';
import { PostgresJournal } from './journal-table.ts';
import { migrate } from './migrate.ts';
import { PostgresOutbox } from './outbox-table.ts';
import { PostgresPolicies } from './policies-table.ts';
import { SlotLocks } from './slot-locks.ts';
import { PostgresWatches } from './watches-table.ts';

export type PostgresConnection =
  | string
  | {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly password: string;
      readonly database: string;
    };

/** Twelve may hold locks, each inside another (database.ts); queries need some, too. They are opened as they are needed. */
const CONNECTIONS = 16;
/** Opens the registry in a Postgres database and brings its tables up to date. Throws TM1301, TM1303, TM1304. */
export async function openPostgresRegistry({
  connection,
  connections = CONNECTIONS,
  warm = false,
}: {
  readonly connection: PostgresConnection;
  /** At most, besides one for slots and one for each watch. A lock that is held or waited for takes one. */
  readonly connections?: number;
  /** Makes the connections that a backup takes side by side, instead of one after the other. */
  readonly warm?: boolean;
}): Promise<Registry> {
  const config = typeof connection === 'string' ? { connectionString: connection } : { ...connection };
  const pool = openPool({ ...config, max: connections, application_name: 'tidemark' });
  const db = new Database(pool);
  const slots = new SlotLocks({ ...config, application_name: 'tidemark slot' });
  const outbox = new PostgresOutbox(db, { ...config, application_name: 'tidemark outbox' });
  if (warm) {
    slots.warm();
    const release = (client: PoolClient) => client.release();
    pool.connect().then(release, () => {}); // who asks next is told
  }
  try {
    await migrate(pool, connection);
  } catch (error) {
    await slots.close();
    await pool.end();
    throw error;
  }
  return {
    backups: new PostgresBackups(db, slots),
    entries: new PostgresEntries(db),
    blocks: new PostgresBlocks(db),
    outbox,
    journal: new PostgresJournal(db),
    access: new PostgresAccess(db),
    domains: new PostgresDomains(db),
    policies: new PostgresPolicies(db),
    catalogue: new PostgresCatalogue(db),
    watches: new PostgresWatches(db),
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
        `truncate meta, sources, backups, pieces, entries, problems, packs, blocks, outbox, journal_heads,
           watches, watch_runs, gaps restart identity`,
      );
    },
    async close() {
      await outbox.close();
      await slots.close();
      await pool.end();
    },
  };
}
