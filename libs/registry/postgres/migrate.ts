import type { Pool } from 'pg';
import type { DataSourceOptions, MigrationInterface, QueryRunner } from 'typeorm';
import { TmError } from '../../model/errors.ts';
import { translated } from './database.ts';
import { initialSql } from './migrations/1-initial.ts';
import { blocksWithoutForeignKeySql } from './migrations/2-blocks-without-foreign-key.ts';
import { watchingSql } from './migrations/3-watching.ts';
import { forgottenWatchesSql } from './migrations/4-forgotten-watches.ts';
import type { PostgresConnection } from './open-postgres-registry.ts';

abstract class Forward {
  abstract readonly sql: string;

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(this.sql);
  }

  async down(): Promise<void> {
    throw new Error('the registry is rebuilt from the store instead');
  }
}

class Initial1700000000001 extends Forward implements MigrationInterface {
  readonly name = 'Initial1700000000001';
  readonly sql = initialSql();
}

class BlocksWithoutForeignKey1796100000002 extends Forward implements MigrationInterface {
  readonly name = 'BlocksWithoutForeignKey1796100000002';
  readonly sql = blocksWithoutForeignKeySql();
}

class Watching1796100000003 extends Forward implements MigrationInterface {
  readonly name = 'Watching1796100000003';
  readonly sql = watchingSql();
}

class ForgottenWatches1796100000004 extends Forward implements MigrationInterface {
  readonly name = 'ForgottenWatches1796100000004';
  readonly sql = forgottenWatchesSql();
}

const MIGRATIONS = [
  Initial1700000000001,
  BlocksWithoutForeignKey1796100000002,
  Watching1796100000003,
  ForgottenWatches1796100000004,
];
const LOCK = 0x74_6d_00_01;

const UNDEFINED_TABLE = '42P01';

/** How many migrations the database has; 0 when it is empty. One question for all that are not. */
async function applied(pool: Pool): Promise<number> {
  try {
    return Number((await pool.query('select count(*) from migrations')).rows[0].count);
  } catch (error) {
    if ((error as { code?: string }).code === UNDEFINED_TABLE) return 0;
    throw translated(error);
  }
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
