import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../embedded/fixtures.suite.ts';
import { NOW } from '../fixtures.suite.ts';
import { openPostgresRegistry } from './open-postgres-registry.ts';
import { RegistryRig } from './rig.suite.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const listeners = async (): Promise<number[]> => {
  const { rows } = await rig.db.query(
    `select pid from pg_stat_activity where application_name = 'tidemark outbox'`,
  );
  return rows.map(({ pid }) => pid);
};

async function failBackup(sourceId: number): Promise<void> {
  const { backup } = await rig.registry.backups.open({ sourceId, kind: 'full', tags: {} }, NOW);
  await rig.registry.backups.fail(backup.id, 'TM1508', [{ type: 'backup.failed', data: {} }]);
}

test('a watch whose connection breaks connects again, looks at once, and is told of what comes then', async () => {
  const source = await rig.source([]);
  let told = 0;
  const watch = rig.registry.outbox.onPending(() => told++);
  await until('it listens', () => told === 1);
  const [pid] = await listeners();
  await rig.db.query('select pg_terminate_backend($1)', [pid]);
  await until('it looks again', () => told === 2);
  await failBackup(source);
  await until('it is told', () => told === 3);
  await watch.close();
  await until('nobody listens', async () => (await listeners()).length === 0);
});

test('a watch that is closed while it connects, and one that a closing registry leaves, end', async () => {
  const registry = await openPostgresRegistry({ connection: rig.connection });
  await registry.outbox.onPending(() => expect.unreachable()).close();
  registry.outbox.onPending(() => {});
  await registry.close();
  await until('nobody listens', async () => (await listeners()).length === 0);
});

test('a publisher whose session breaks is told, and another one takes over', async () => {
  const pids = async () => {
    const { rows } = await rig.db.query(
      `select pid from pg_locks where locktype = 'advisory' and objid = ${0x746d0006}::oid and granted`,
    );
    return rows.map(({ pid }) => pid as number);
  };
  const publishing = rig.registry.outbox.publishing(async (stillMine) => {
    await stillMine();
    for (const pid of await pids()) await rig.db.query('select pg_terminate_backend($1)', [pid]);
    await until('the lock is free', async () => (await pids()).length === 0);
    await stillMine();
  });
  await expect(publishing).rejects.toMatchObject({ code: 'TM1301' });
  expect(await rig.registry.outbox.publishing(async () => {})).toBe(true);
});

test('events are passed over where no services are, and wait for them where there are', async () => {
  const { outbox, journal } = rig.registry;
  const source = await rig.source([]);
  const waiting = async () =>
    (await outbox.pending(1000)).filter(({ sourceId }) => sourceId === source).length;
  await failBackup(source);
  expect(await waiting()).toBe(1);
  await outbox.passOver();
  expect(await waiting()).toBe(0);
  await journal.lanes(4);
  await failBackup(source);
  await outbox.passOver();
  expect(await waiting()).toBe(1);
});

test('what a rebuild brings back is cleared; access, domains and policies stay, a policy with its source', async () => {
  const { registry } = rig;
  const { access, domains, policies, journal, backups } = registry;
  const id = await rig.source(['full']);
  const [source] = (await backups.sources()).filter((one) => one.id === id);
  const domain = { id: 'd', recipient: 'r', dedupKey: Buffer.alloc(32), digestKey: Buffer.alloc(32) };
  await domains.add(domain);
  await access.createToken({ id: 'token', kind: 'admin', hash: Buffer.alloc(32), name: 'n' });
  const agent = await access.addAgent({ uid: crypto.randomUUID(), name: 'a', domain: 'd' });
  await policies.set(id, { every: 'day' });
  const lanes = await journal.lanes(4);
  await registry.clear();
  expect(await registry.isEmpty()).toBe(true);
  expect(await policies.list()).toEqual([]);
  expect(await journal.lanes(4)).not.toEqual(lanes);
  expect(await domains.list()).toEqual([domain]);
  expect(await access.agents()).toEqual([agent]);
  expect((await access.findToken('token'))?.state).toBe('valid');
  const again = await backups.restoreSource(source!, 2);
  expect(await policies.list()).toMatchObject([{ sourceId: again.id, policy: { every: 'day' } }]);
});
