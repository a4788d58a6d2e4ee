import pg, { type PoolClient, type QueryResult } from 'pg';
import { TmError } from '../../model/errors.ts';
import type { BinaryRow } from './binary-rows.ts';
import { CopyOut } from './copy-out.ts';

pg.types.setTypeParser(20, (text) => Number(text)); // int8: our seqs, sizes and counts are below 2^53

const ROWS_A_PAGE = 1000;

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'ETIMEDOUT',
  'EACCES',
  'ECONNRESET',
  '28P01',
  '28000',
  '3D000',
  '57P01',
  '57P02',
  '57P03',
]);

/** The database's errors as ours; those that are ours already pass. */
export function translated(error: unknown): unknown {
  if (error instanceof TmError) return error;
  const { code, message } = error as { code?: string; message?: string };
  return new TmError(code && UNREACHABLE.has(code) ? 'TM1301' : 'TM1303', message ?? String(error), {
    cause: error,
  });
}

/** A server of the user's own may not flush commits: then a pack could be deleted and its row be there again after a crash. */
const FLUSHED_COMMITS = `select set_config('synchronous_commit', 'on', false)
  where current_setting('synchronous_commit') = 'off'`;

/** Connections whose commits are durable, and whose failure is an error of what uses them. */
export function openPool(config: pg.PoolConfig): pg.Pool {
  const onConnect = async (client: pg.ClientBase): Promise<void> => {
    client.on('error', () => {}); // its next query says so; without a listener the event would end the process
    await client.query(FLUSHED_COMMITS);
  };
  const pool = new pg.Pool({ ...config, onConnect });
  pool.on('error', () => {}); // an idle connection broke; the next query gets another one
  return pool;
}

/** A few connections to one database. */
export class Database {
  readonly pool: pg.Pool;

  constructor(pool: pg.Pool) {
    this.pool = pool;
    // A connection that breaks says so by the query that is under way, or at the next one.
    pool.on('connect', (client) => client.on('error', () => {}));
    pool.on('error', () => {});
  }

  // biome-ignore lint/suspicious/noExplicitAny: rows are what the query names
  async query(text: string, values: unknown[] = []): Promise<QueryResult<any>> {
    try {
      return await this.pool.query(text, values);
    } catch (error) {
      throw translated(error);
    }
  }

  /** A prepared statement, planned once a connection. */
  // biome-ignore lint/suspicious/noExplicitAny: rows are what the query names
  async prepared(name: string, text: string, values: unknown[]): Promise<QueryResult<any>> {
    try {
      return await this.pool.query({ name, text, values });
    } catch (error) {
      throw translated(error);
    }
  }

  async connect(): Promise<PoolClient> {
    try {
      return await this.pool.connect();
    } catch (error) {
      throw translated(error);
    }
  }

  /** The registry's clock: the one that backups are dated by, whatever the hosts' clocks say. */
  async now(): Promise<Date> {
    return (await this.query('select clock_timestamp() as now')).rows[0].now;
  }

  /**
   * Runs `work` while a session advisory lock is held; TM1501 where it is only tried for and somebody has it. The lock
   * goes with its session, should that break: `stillHeld`, handed to the work, throws TM1301 then.
   */
  async locked<T>(
    lock: { readonly take: string; readonly free: string; readonly values: unknown[] },
    work: (stillHeld: () => Promise<void>) => Promise<T>,
  ): Promise<T> {
    const client = await this.connect();
    let broken = true;
    try {
      const taken = await client.query(`select ${lock.take} as taken`, lock.values).catch((error) => {
        throw translated(error);
      });
      if (taken.rows[0].taken === false) {
        broken = false;
        throw new TmError('TM1501', 'a backup, restore or check is using the store');
      }
      const stillHeld = async () => {
        await client.query('select 1').catch((cause) => {
          throw new TmError('TM1301', 'the connection that held a lock broke', { cause });
        });
      };
      try {
        return await work(stillHeld);
      } finally {
        broken = await client.query(`select ${lock.free}`, lock.values).then(
          () => false,
          () => true,
        );
      }
    } finally {
      client.release(broken);
    }
  }

  async transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.connect();
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      client.release();
      return result;
    } catch (error) {
      await client.query('rollback').then(
        () => client.release(),
        () => client.release(true),
      );
      throw translated(error);
    }
  }

  /**
   * Rows of a query in pages, as one statement: they are of one moment. A loop that is left early gives the connection
   * back, or gives it up where much of the answer is still to come.
   */
  async *pages<T>(
    text: string,
    values: ConstructorParameters<typeof CopyOut>[1],
    read: (row: BinaryRow) => T,
  ): AsyncGenerator<T[]> {
    const copy = new CopyOut(text, values);
    const client = await this.connect();
    client.query(copy);
    let answers = async () => true;
    try {
      for (let page = await copy.page(read); page; page = await copy.page(read))
        for (let at = 0; at < page.length; at += ROWS_A_PAGE) yield page.slice(at, at + ROWS_A_PAGE);
    } catch (error) {
      answers = () =>
        client.query('select 1').then(
          () => true,
          () => false,
        );
      throw translated(error);
    } finally {
      client.release(!((await copy.leave()) && (await answers())));
    }
  }
}
