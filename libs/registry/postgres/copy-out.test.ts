import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Database } from './database.ts';
import { RegistryRig } from './rig.suite.ts';

const ROW = 1000;
/** `n` rows of a thousand bytes. */
const rowsOf = (n: number) =>
  `select int8 '7' as n, decode(repeat('ab', ${ROW}), 'hex') from generate_series(1, ${n})`;

let rig: RegistryRig;
/** One connection, so that who has it is plain. */
let db: Database;

beforeAll(async () => {
  rig = await RegistryRig.make();
  db = new Database(new pg.Pool({ ...rig.connection, max: 1 }));
});

afterAll(async () => {
  await db.pool.end();
  await rig.close();
});

const backend = async (): Promise<number> => (await db.query('select pg_backend_pid() as pid')).rows[0].pid;
const read = (text: string) => db.pages(text, [], (row) => [row.int8(0), row.bytes(1).length]);

async function count(text: string): Promise<number> {
  let rows = 0;
  for await (const page of read(text)) {
    expect(page.length).toBeLessThanOrEqual(1000);
    rows += page.length;
  }
  return rows;
}

/** Asks until the answer is yes. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(setImmediate);
}

it('gives the same as the text protocol, for any row', async () => {
  const bytes = fc.oneof(
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }).map((one) => Buffer.from(one)),
    fc.integer({ min: 0, max: 300_000 }).map((length) => Buffer.alloc(length, 'Pg\\0')),
  );
  const row = fc.record({
    n: fc.maxSafeInteger(),
    k: fc.integer({ min: -32768, max: 32767 }),
    a: bytes,
    b: bytes,
  });
  await db.query('create table same (i int, n int8, k int2, a bytea, b bytea)');
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 8 }), async (rows) => {
      await db.query('truncate same');
      for (const [i, { n, k, a, b }] of rows.entries())
        await db.query('insert into same values ($1, $2, $3, $4, $5)', [i, n, k, a, b]);
      const text = (await db.query('select n, k, a, b from same order by i')).rows;
      const binary: typeof text = [];
      const pages = db.pages('select n, k, a, b from same where i >= $1 order by i', [0], (one) => ({
        n: one.int8(0),
        k: one.int2(1),
        a: one.bytesOrNull(2),
        b: one.bytesOrNull(3),
      }));
      for await (const page of pages) binary.push(...page);
      const plain = (all: typeof text) =>
        all.map((one) => [one.n, one.k, ...[one.a, one.b].map((value) => value?.toString('latin1') ?? null)]);
      expect(plain(binary)).toEqual(plain(text));
    }),
    { numRuns: 25 },
  );
});

it('puts values of every kind into the text', async () => {
  const values = [
    -5,
    2 ** 53 - 1,
    "it's \\ $1",
    Buffer.from([0, 0x27, 0x5c, 0xff]),
    [3, 2 ** 40],
    [],
  ] as const;
  const pages = db.pages(
    'select $1::int8, $2::int8, $3, $4, ($5)[2], cardinality($6)::int8',
    values,
    (row) => [row.int8(0), row.int8(1), row.text(2), row.bytes(3), row.int8(4), row.int8(5)],
  );
  expect((await pages.next()).value).toEqual([[-5, 2 ** 53 - 1, values[2], values[3], 2 ** 40, 0]]);
  await pages.return(undefined);
  await expect(db.pages('select $1', [1.5], () => 0).next()).rejects.toThrow(TypeError);
  expect(await count(rowsOf(1))).toBe(1);
});

it('gives nothing of an empty answer, and pages of a long one', async () => {
  expect(await count(rowsOf(0))).toBe(0);
  expect(await count(rowsOf(20_000))).toBe(20_000);
});

it('gives the connection back when a loop is left early', async () => {
  const before = await backend();
  for await (const _ of read(rowsOf(2_000))) break;
  expect(await backend()).toBe(before);
  expect(await count(rowsOf(10))).toBe(10);
});

it('gives the connection up when a loop is left early and much is to come', async () => {
  const before = await backend();
  for await (const _ of read(rowsOf(10_000_000))) break;
  expect(await backend()).not.toBe(before);
  expect(await count(rowsOf(10))).toBe(10);
  await until(async () => {
    const { rows } = await db.query('select pid from pg_stat_activity where pid = $1', [before]);
    return rows.length === 0;
  });
});

it('reads no further than a page ahead of who takes the rows', async () => {
  const pages = read(rowsOf(100_000));
  await pages.next();
  await until(async () => {
    const { rows } = await rig.db.query(
      `select 1 from pg_stat_activity where query like 'copy (%' and wait_event = 'ClientWrite'`,
    );
    return rows.length === 1;
  });
  const { stream } = (db.pool as unknown as { _clients: { connection: { stream: { bytesRead: number } } }[] })
    ._clients[0]!.connection;
  expect(stream.bytesRead).toBeLessThan(2 * 1024 * 1024);
  let rows = 0;
  for await (const page of pages) rows += page.length;
  expect(rows).toBeGreaterThan(99_000);
});

it('says what goes wrong in the middle, and gives the connection back', async () => {
  const before = await backend();
  const broken = `select n / (n - 5000), decode(repeat('ab', 1000), 'hex') from generate_series(1::int8, 9000) n`;
  await expect(count(broken)).rejects.toMatchObject({
    code: 'TM1303',
    message: expect.stringContaining('zero'),
  });
  expect(await backend()).toBe(before);
  await expect(count('select nonsense')).rejects.toMatchObject({ code: 'TM1303' });
  expect(await backend()).toBe(before);
});

it('says that the row is not what was expected, and gives the connection back', async () => {
  const before = await backend();
  await expect(count(`select 1::int4, 'x'`)).rejects.toMatchObject({ code: 'TM1303' });
  await expect(count('select 1::int8, null::bytea')).rejects.toMatchObject({ code: 'TM1303' });
  expect(await backend()).toBe(before);
});

it('survives the end of its server process', async () => {
  const pid = await backend();
  const pages = read(rowsOf(1_000_000));
  await pages.next();
  await rig.db.query('select pg_terminate_backend($1)', [pid]);
  const rest = async () => {
    for await (const _ of pages);
  };
  await expect(rest()).rejects.toMatchObject({ name: 'TmError' });
  expect(await count(rowsOf(10))).toBe(10);
});
