import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import { PgBossQueue } from './pg-boss-queue.ts';
import { queueSuite } from './queue.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const open = (leaseSeconds?: number) =>
  PgBossQueue.open({
    connection: rig.connection,
    pollMs: 50,
    ...(leaseSeconds === undefined ? {} : { leaseSeconds }),
  });

queueSuite('the queue on pg-boss', () => ({ open: (options) => open(options?.leaseSeconds) }));

test('several that start at once over an empty database make one schema', async () => {
  await rig.db.query('drop schema if exists tidemark_jobs cascade');
  const queues = await Promise.all([open(), open(), open()]);
  await Promise.all(queues.map((queue) => queue.close()));
});

test('a closed queue leaves no timer behind and no connection', async () => {
  const queue = await open();
  await queue.close();
  const { rows } = await rig.db.query(
    `select count(*)::int as open from pg_stat_activity where application_name = 'tidemark jobs'`,
  );
  expect(rows[0].open).toBe(0);
});

test('a process that is cut off while it decides has offered nothing', async () => {
  const queue = await open();
  await expect(
    queue.deciding(async (desk) => {
      await desk.unended();
      await rig.db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidemark jobs' and state = 'idle in transaction'`,
      );
      await desk.unended();
    }),
  ).rejects.toEqual(expect.objectContaining({ code: 'TM1301' }));
  expect(await queue.deciding((desk) => desk.unended())).toEqual([]);
  await queue.close();
});
