import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface BackupRow {
  readonly id: string;
  /** The source's uid. */
  readonly source: string;
  readonly state: string;
  readonly failure: string | null;
}

/** A look at the registry that owes nothing to our code, and locks by which the services are brought to a halt. */
export class RegistryView {
  readonly #url: string;
  readonly #pool: pg.Pool;

  constructor(url: string) {
    this.#url = url;
    this.#pool = new pg.Pool({ connectionString: url, max: 2 });
    this.#pool.on('error', () => {});
  }

  async rows<T>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    return (await this.#pool.query(sql, [...values])).rows as T[];
  }

  backups(): Promise<BackupRow[]> {
    return this.rows(
      'select b.id, s.uid as source, b.state, b.failure from backups b join sources s on s.id = b.source order by b.id',
    );
  }

  /** `exclusive`: nobody reads or writes the table; `share`: nobody writes it. Until the function that it gives is called. */
  async lock(table: string, mode: 'access exclusive' | 'share'): Promise<() => Promise<void>> {
    const client = new pg.Client({ connectionString: this.#url });
    await client.connect();
    await client.query('begin');
    await client.query(`lock table ${table} in ${mode} mode`);
    return () => client.end();
  }

  /** The service, by its connections' name, that waits for a lock with a statement that fits; as soon as there is one. */
  waiting(names: readonly string[], statement: RegExp): Promise<string> {
    return until(async () => {
      const found = await this.rows<{ name: string; query: string }>(
        `select application_name as name, query from pg_stat_activity
         where wait_event_type = 'Lock' and application_name = any($1)`,
        [names],
      );
      return found.find(({ query }) => statement.test(query))?.name;
    });
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

const LOOK_MS = 20;

/** What `look` gives as soon as it gives something. The test's own time-out says when that is too late. */
export async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(LOOK_MS);
  }
}
