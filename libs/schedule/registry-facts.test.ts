import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import { settlePolicy } from './policy.ts';
import { parsePolicyText } from './policy-options.ts';
import { backupFacts, plannedSources } from './registry-facts.ts';

const AGENT = '8c1f9c0e-6f1b-4d7e-9d55-0a6a4c1d2e3f';
const NOW = new Date('2026-03-01T00:00:00Z');
const POLICY = settlePolicy({ full: { every: '7d' } }, undefined, { full: undefined, any: undefined }, NOW);

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const unexpected = (error: unknown) => {
  throw error;
};

test('a policy that can not be read is told, and the others are planned', async () => {
  const [good, bad, none] = [
    await rig.source(['full']),
    await rig.source(['full']),
    await rig.source(['full']),
  ];
  await rig.registry.policies.set(good, POLICY);
  await rig.registry.policies.set(bad, { ...POLICY, lunar: true });
  const told: unknown[] = [];
  const planned = await plannedSources(rig.registry, (error) => told.push(error));
  const uids = new Map((await rig.registry.backups.sources()).map(({ id, uid }) => [id, uid]));
  expect(planned.map(({ source }) => source)).toEqual([uids.get(good)]);
  expect(planned[0]).toMatchObject({ agent: 'host', policy: POLICY });
  expect(told).toEqual([
    expect.objectContaining({ code: 'TM1812', message: expect.stringContaining('lunar') }),
  ]);
  expect(uids.has(none)).toBe(true);
  await rig.registry.policies.delete(bad);
});

test('a source is busy while a backup is open, and no longer once its holder is gone', async () => {
  const id = await rig.source(['full', 'differential']);
  await rig.registry.policies.set(id, POLICY);
  const factsOf = async () => {
    const planned = await plannedSources(rig.registry, unexpected);
    const facts = await backupFacts(rig.registry, NOW, planned);
    const { uid } = (await rig.registry.backups.sources()).find((one) => one.id === id)!;
    return facts.get(uid)!;
  };
  expect(await factsOf()).toMatchObject({ isBusy: false });
  const holder = await openPostgresRegistry({ connection: rig.connection });
  const { backup } = await holder.backups.open({ sourceId: id, kind: 'full', tags: {} }, NOW);
  const { isBusy, backups } = await factsOf();
  expect(isBusy).toBe(true);
  expect(backups.map(({ seq }) => seq).toSorted()).toEqual([1, 2, 2]);
  await holder.close();
  expect((await rig.registry.backups.get(backup.id))?.state).toBe('open');
  expect(await factsOf()).toMatchObject({ isBusy: false });
});

test('the default policy is for agents’ sources that have none of their own, and every reader plans the same', async () => {
  const policy = parsePolicyText('--full-every 7d --differential-after-full --exclude "a b"', 'UTC');
  expect(policy).toEqual(
    parsePolicyText('{"full":{"every":"7d"},"differentialAfterFull":true,"excludes":["a b"]}', 'UTC'),
  );
  expect(parsePolicyText('--full-every 7d --watch-every 5s --recovery-point 2min', 'UTC')).toMatchObject({
    watch: { every: '5s', recoveryPoint: '2min' },
  });
  const { backups, policies, access } = rig.registry;
  await access.addAgent({ uid: AGENT, name: 'host', domain: 'd' });
  const make = (uid: string) =>
    backups.ensureSource({
      uid,
      agent: 'host',
      agentUid: AGENT,
      root: Buffer.from(`/${uid}`),
      key: Buffer.alloc(32),
      domain: 'd',
    });
  const [bare, own] = [await make(crypto.randomUUID()), await make(crypto.randomUUID())];
  await policies.set(own.id, { ...POLICY, paused: true });
  const before = await plannedSources(rig.registry, unexpected);
  const planned = await plannedSources(rig.registry, unexpected, policy);
  const policyOf = (uid: string) => planned.find(({ source }) => source === uid)?.policy;
  expect(planned).toHaveLength(before.length + 1);
  expect(policyOf(bare.uid)).toEqual(policy);
  expect(policyOf(own.uid)).toMatchObject({ paused: true });
});

test('a default policy that makes no sense is refused with what is wrong', () => {
  for (const bad of ['--full-every soon', '--fully', '{"full":', 'full', '--exclude x'])
    expect(() => parsePolicyText(bad, 'UTC'), bad).toThrow(expect.objectContaining({ code: 'TM1812' }));
});
