import { AsyncLocalStorage } from 'node:async_hooks';
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

/**
 * A plan that is kept was made for tables as they were: of one that was empty it reads all rows, for as long as nothing
 * has the tables analyzed. Planning anew costs less than a millisecond for a thousand keys.
 */
const FRESH_PLANS = 'set plan_cache_mode = force_custom_plan';

/** Connections whose commits are durable, and whose failure is an error of what uses them. */
export function openPool(config: pg.PoolConfig): pg.Pool {
  const onConnect = async (client: pg.ClientBase): Promise<void> => {
    client.on('error', () => {}); // its next query says so; without a listener the event would end the process
    await client.query(`${FLUSHED_COMMITS}; ${FRESH_PLANS}`);
  };
  const pool = new pg.Pool({ ...config, onConnect });
  pool.on('error', () => {}); // an idle connection broke; the next query gets another one
  return pool;
}

interface Lock {
  readonly take: string;
  readonly free: string;
  readonly values: unknown[];
}

type LockWork<T> = (stillHeld: () => Promise<void>) => Promise<T>;

/** A session that holds a lock. */
interface LockSession {
  readonly database: Database;
  readonly client: PoolClient;
  /** What it holds. To its own session a lock is never refused, so that nobody asks for one of these on it. */
  readonly locks: readonly Lock[];
  /** A further lock inside of it is held or waited for on it, or it has been given back. */
  isTaken: boolean;
  isBroken: boolean;
}

/** Work under a lock asks for further locks, two at most, and for connections of its own. */
const insideLock = new AsyncLocalStorage<LockSession>();
/** Locks that are held or waited for at once, those inside another one not counted. */
const OUTER_LOCKS = 4;

const isSame = (one: Lock, other: Lock): boolean => String(one.values) === String(other.values);

async function withLock<T>(session: LockSession, lock: Lock, work: LockWork<T>): Promise<T> {
  const { client } = session;
  const taken = await client.query(`select ${lock.take} as taken`, lock.values).catch((error) => {
    throw translated(error);
  });
  if (taken.rows[0].taken === false) {
    session.isBroken = false;
    throw new TmError('TM1501', 'a backup, restore or check is using the store');
  }
  const stillHeld = async () => {
    await client.query('select 1').catch((cause) => {
      throw new TmError('TM1301', 'the connection that held a lock broke', { cause });
    });
  };
  try {
    return await insideLock.run(session, () => work(stillHeld));
  } finally {
    session.isTaken = true; // what still runs of the work takes its locks elsewhere
    session.isBroken = await client.query(`select ${lock.free}`, lock.values).then(
      () => false,
      () => true,
    );
  }
}

/** A lock inside another one, on its session: making a connection costs more than most of such work. */
async function lockedOn<T>(outer: LockSession, lock: Lock, work: LockWork<T>): Promise<T> {
  outer.isTaken = true;
  try {
    const locks = [...outer.locks, lock];
    return await withLock({ ...outer, locks, isTaken: false, isBroken: true }, lock, work);
  } finally {
    outer.isTaken = false;
  }
}

/** A few connections to one database. */
export class Database {
  readonly pool: pg.Pool;
  readonly #lockTurns: (() => void)[] = [];
  #locks = 0;

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

  /** A prepared statement, parsed once a connection. */
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
   * goes with its session, should that break: `stillHeld`, handed to the work, throws TM1301 then. Of many at once some
   * wait for their turn: if locks took all connections, nobody who holds one could go on.
   */
  async locked<T>(lock: Lock, work: LockWork<T>): Promise<T> {
    const outer = insideLock.getStore();
    if (outer && this.#canTake(outer, lock)) return lockedOn(outer, lock, work);
    return this.#inTurn(() => this.#locked(lock, work));
  }

  /** A transaction that waits for a lock which others may hold for long: of many at once some wait for their turn. */
  lockingTransaction: Database['transaction'] = (work, first) =>
    this.#inTurn(() => this.transaction(work, first));

  /** What is done under a lock has had its turn. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (insideLock.getStore()) return work();
    if (this.#locks < OUTER_LOCKS) this.#locks++;
    else await new Promise<void>((resolve) => this.#lockTurns.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#lockTurns.shift();
      if (next) next();
      else this.#locks--;
    }
  }

  #canTake({ database, isTaken, locks }: LockSession, lock: Lock): boolean {
    return database === this && !isTaken && !locks.some((held) => isSame(held, lock));
  }

  /** A lock on a session of its own. */
  async #locked<T>(lock: Lock, work: LockWork<T>): Promise<T> {
    const client = await this.connect();
    const session: LockSession = { database: this, client, locks: [lock], isTaken: false, isBroken: true };
    try {
      return await withLock(session, lock, work);
    } finally {
      client.release(session.isBroken);
    }
  }

  /** `first`: SQL without parameters that begins the transaction, in one round trip with it; its rows go to `work`. */
  async transaction<T>(
    // biome-ignore lint/suspicious/noExplicitAny: rows are what the query names
    work: (client: PoolClient, firstRows: any[]) => Promise<T>,
    first = '',
  ): Promise<T> {
    const client = await this.connect();
    try {
      const began: QueryResult | QueryResult[] = await client.query(`begin; ${first}`);
      const result = await work(client, [began].flat().at(-1)!.rows);
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
   * back, or gives it up where much of the answer is still to come. `settings`: for this query only, as SQL.
   */
  async *pages<T>(
    text: string,
    values: ConstructorParameters<typeof CopyOut>[1],
    read: (row: BinaryRow) => T,
    settings?: string,
  ): AsyncGenerator<T[]> {
    const copy = new CopyOut(text, values);
    const client = await this.connect();
    if (settings) client.query(`begin; ${settings}`).catch(() => {}); // the next query fails too
    client.query(copy);
    const succeeds = (query: string) =>
      client.query(query).then(
        () => true,
        () => false,
      );
    let answers = async () => settings === undefined || succeeds('rollback');
    try {
      for (let page = await copy.page(read); page; page = await copy.page(read))
        for (let at = 0; at < page.length; at += ROWS_A_PAGE) yield page.slice(at, at + ROWS_A_PAGE);
    } catch (error) {
      answers = () => succeeds(settings ? 'rollback' : 'select 1');
      throw translated(error);
    } finally {
      client.release(!((await copy.leave()) && (await answers())));
    }
  }
}
