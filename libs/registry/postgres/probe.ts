import pg from 'pg';
import type { StoreRow } from '../port.ts';
import { translated } from './database.ts';
import type { PostgresConnection } from './open-postgres-registry.ts';

/** What a database says of itself and of a registry in it. */
export interface PostgresProbe {
  /** As server_version_num: 180004 for 18.4. */
  readonly version: number;
  readonly hasTables: boolean;
  readonly mayCreateTables: boolean;
  readonly now: Date;
  /** The store that the registry knows. */
  readonly store: StoreRow | undefined;
  /** When the newest backup was committed. */
  readonly lastBackup: Date | undefined;
  /** The first hundred. */
  readonly sources: readonly ProbedSource[];
}

interface ProbedSource {
  readonly agent: string;
  /** Of an enrolled agent. */
  readonly agentUid: string | undefined;
  readonly root: Buffer;
  /** In its newest backup; undefined where there is none. */
  readonly directories: number | undefined;
}

const SOURCES = `select s.agent, s.agent_uid, s.root, (b.counts->>'directories')::int as directories
  from sources s left join backups b on b.source = s.id and b.seq = s.head order by s.id limit 100`;

const TIMEOUT_MS = 10_000;

/** Asks without changing anything: no table is made or migrated. Throws TM1301, TM1303. */
export async function probePostgres(connection: PostgresConnection): Promise<PostgresProbe> {
  const config = typeof connection === 'string' ? { connectionString: connection } : { ...connection };
  const client = new pg.Client({
    ...config,
    application_name: 'tidemark doctor',
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query(`
      select current_setting('server_version_num')::int as version, clock_timestamp() as now,
        to_regclass('meta') is not null and to_regclass('backups') is not null as "hasTables",
        coalesce(has_schema_privilege(current_schema(), 'create'), false) as "mayCreateTables"`);
    const about = rows[0] as Omit<PostgresProbe, 'store' | 'lastBackup' | 'sources'>;
    if (!about.hasTables) return { ...about, store: undefined, lastBackup: undefined, sources: [] };
    const store = await client.query(`select value from meta where key = 'store'`);
    const last = await client.query('select max(committed_at) as time from backups');
    const sources = (await client.query(SOURCES)).rows.map(({ agent, agent_uid, root, directories }) => ({
      agent,
      agentUid: agent_uid ?? undefined,
      root,
      directories: directories ?? undefined,
    }));
    return { ...about, store: store.rows[0]?.value, lastBackup: last.rows[0].time ?? undefined, sources };
  } catch (error) {
    throw translated(error);
  } finally {
    await client.end().catch(() => {});
  }
}
