import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashOf, newSource, present } from '../fixtures.suite.ts';
import type { SourceRow } from '../port.ts';
import { Database, openPool } from './database.ts';
import { PostgresEntries } from './entries-table.ts';
import { RegistryRig } from './rig.suite.ts';

/** More than the five executions after which Postgres would keep a plan. */
const TIMES = 8;

let rig: RegistryRig;
/** One connection, so that what was planned for one query is what the next would use. */
let db: Database;
beforeAll(async () => {
  rig = await RegistryRig.make();
  db = new Database(openPool({ ...rig.connection, max: 1 }));
});
afterAll(async () => {
  await db?.pool.end();
  await rig?.close();
});

const recordsOf = (count: number) =>
  Array.from({ length: count }, (_, i) => present(`folder-${i % 50}/file-${i}`, i));

async function fill(entries: PostgresEntries, source: SourceRow, count: number): Promise<void> {
  const versions = recordsOf(count).map((record) => ({ ...record, seq: 1, hash: hashOf(source, record) }));
  await entries.insert(source.id, versions, []);
}

async function planOf(statement: string): Promise<string> {
  const { rows } = await db.query(`explain (costs off) execute ${statement}`);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

test('look-ups go on by the key in tables that grow under connections which knew them empty', async () => {
  const entries = new PostgresEntries(db);
  const [small, large] = [await newSource(rig.registry), await newSource(rig.registry)];
  await fill(entries, small, 100);
  await db.query('analyze entries');
  for (let i = 0; i < TIMES; i++) await entries.lookup(small.id, 1, recordsOf(10));
  await fill(entries, large, 20_000);
  const plan = await planOf(`lookup(${large.id}, 1, '{}', '{}')`);
  expect(plan).toMatch(/using entries_\d_pkey/);
  expect(plan).not.toContain('Seq Scan');
});

/** Entries that indexes have given so far. */
async function readByIndex(): Promise<number> {
  await db.query('select pg_stat_force_next_flush()');
  const { rows } = await db.query(
    `select sum(idx_tup_read)::int as read from pg_stat_user_indexes where indexrelname ~ '^entries_'`,
  );
  return rows[0].read;
}

test('a page of a list reads its entries by the key, also from a table that nobody has analyzed', async () => {
  const [count, limit] = [20_000, 1000];
  const entries = new PostgresEntries(db);
  const source = await newSource(rig.registry);
  await fill(entries, source, count);
  const before = await readByIndex();
  let found = 0;
  for await (const page of entries.list(source.id, 1, { depth: 'all', page: { limit } }))
    found += page.length;
  expect(found).toBe(limit);
  // The order of the tree takes each entry once or less, then each of the page is looked up.
  expect((await readByIndex()) - before).toBeLessThan(2 * (count + limit));
});
