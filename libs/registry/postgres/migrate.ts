import type { Pool } from 'pg';
import type { DataSourceOptions, MigrationInterface, QueryRunner } from 'typeorm';
import { TmError } from '../../model/errors.ts';
import { initialSql } from './migrations/1-initial.ts';
import type { PostgresConnection } from './open-postgres-registry.ts';

class Initial1700000000001 implements MigrationInterface {
  readonly name = 'Initial1700000000001';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(initialSql());
  }

  async down(): Promise<void> {
    throw new Error('the registry is rebuilt from the store instead');
  }
}

const MIGRATIONS = [Initial1700000000001];
const LOCK = 0x74_6d_00_01;

/** How many migrations the database has; 0 when it is empty. */
async function applied(pool: Pool): Promise<number> {
  const table = await pool.query(`select to_regclass('migrations') as there`);
  if (table.rows[0].there === null) return 0;
  return Number((await pool.query('select count(*) from migrations')).rows[0].count);
}

/** Brings the tables up to date, a step of its own. TypeORM is loaded only when there is something to do. */
export async function migrate(pool: Pool, connection: PostgresConnection): Promise<void> {
  const before = await applied(pool);
  if (before > MIGRATIONS.length)
    throw new TmError('TM1304', `it has ${before} migrations, this program ${MIGRATIONS.length}`);
  if (before === MIGRATIONS.length) return;
  const client = await pool.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK]);
    if ((await applied(pool)) === MIGRATIONS.length) return;
    const { DataSource } = await import('typeorm');
    const where =
      typeof connection === 'string' ? { url: connection } : { ...connection, username: connection.user };
    const source = new DataSource({
      type: 'postgres',
      ...where,
      migrations: MIGRATIONS,
      migrationsTransactionMode: 'all',
    } as DataSourceOptions);
    await source.initialize();
    try {
      await source.runMigrations();
    } finally {
      await source.destroy();
    }
  } finally {
    await client.query('select pg_advisory_unlock($1)', [LOCK]);
    client.release();
  }
}
