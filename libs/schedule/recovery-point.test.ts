import { afterAll, beforeAll, expect, test } from 'vitest';
import { toCommitMessage } from '../cell/outbox.ts';
import { encode } from '../contracts/wire/codec.ts';
import { commitOf, sealOf } from '../registry/fixtures.suite.ts';
import { RegistryRig } from '../registry/postgres/rig.suite.ts';
import { parsePolicy, settlePolicy } from './policy.ts';
import { tellForSilent, tellRecoveryPoint, watchPolicyOf } from './recovery-point.ts';

let rig: RegistryRig;
beforeAll(async () => {
  rig = await RegistryRig.make();
});
afterAll(() => rig.close());

const NONE = { full: undefined, any: undefined };
const policyOf = (watch: object) => settlePolicy({ watch }, undefined, NONE, new Date());

test('one event each time the limit is passed and each time it holds again, as a message of the topic', async () => {
  const source = await rig.source(['full']);
  const limitMs = 60_000;
  const told: boolean[] = [];
  for (const ageMs of [0, 59_000, 59_999, 60_000, 90_000, 1000, 0, 70_000])
    told.push(await tellRecoveryPoint(rig.registry, source, { ageMs, limitMs }));
  expect(told).toEqual([false, false, false, true, false, true, false, true]);
  expect(await tellRecoveryPoint(rig.registry, source, { ageMs: 80_000, limitMs: undefined })).toBe(true);
  const rows = (await rig.registry.outbox.pending(100)).filter(({ sourceId }) => sourceId === source);
  expect(rows.map(({ eventNo, type, data }) => [eventNo, type, data.ageSeconds, data.limitSeconds])).toEqual([
    [1, 'recovery-point.exceeded', 60, 60],
    [2, 'recovery-point.recovered', 1, 60],
    [3, 'recovery-point.exceeded', 70, 60],
    [4, 'recovery-point.recovered', 80, null],
  ]);
  for (const row of rows) {
    const message = toCommitMessage(row);
    expect(message).toMatchObject({ subject: row.sourceUid, data: { eventNo: row.eventNo } });
    expect(encode(message).value.length).toBeLessThan(1024);
  }
});

test('an agent that never watches again: its recovery point holds again once a backup of later is committed', async () => {
  const { backups, watches, outbox } = rig.registry;
  const id = await rig.source(['full']);
  const ago = (seconds: number) => new Date(Date.now() - seconds * 1000);
  await rig.registry.policies.set(id, policyOf({ recoveryPoint: '1min' }));
  const left = { kind: 'inotify', state: 'watching', pending: 1, run: undefined, gaps: [] };
  await watches.report(id, { ...left, oldestChange: ago(400) }, ago(300));
  const look = () => tellForSilent(rig.registry, undefined, (error) => expect.unreachable(String(error)));
  const row = async () => (await watches.list([id])).get(id);
  const backUp = async (openedAt: Date) => {
    const opened = await backups.open({ sourceId: id, kind: 'full', tags: {} }, openedAt);
    const { id: backupId, epoch, seq } = opened.backup;
    await backups.seal(backupId, epoch, sealOf(opened));
    await backups.committing(backupId, epoch, { writer: 'w', number: seq });
    await backups.commit(commitOf(opened));
  };
  await look();
  await backUp(ago(290)); // the watch may have made it itself, without what was still being written
  await look();
  expect(await row()).toMatchObject({ isExceeded: true, oldestChange: expect.any(Date) });
  await backUp(ago(100));
  for (let times = 0; times < 2; times++) await look();
  expect(await row()).toMatchObject({ isExceeded: false, oldestChange: undefined });
  const events = (await outbox.pending(1000)).filter((one) => one.sourceId === id).map(({ type }) => type);
  expect(events.filter((type) => type.startsWith('recovery-point'))).toEqual([
    'recovery-point.exceeded',
    'recovery-point.recovered',
  ]);
});

test('the rules are those of the own policy, else of the default one for enrolled agents', async () => {
  const { registry } = rig;
  const id = await rig.source(['full']);
  const agent = { id, agentUid: crypto.randomUUID() };
  const embedded = { id, agentUid: undefined };
  const nothing = { everyMs: undefined, recoveryLimitMs: undefined, excludes: [] };
  const byDefault = policyOf({ every: '2min' });
  expect(await watchPolicyOf(registry, agent)).toEqual(nothing);
  expect(await watchPolicyOf(registry, agent, byDefault)).toEqual({ ...nothing, everyMs: 120_000 });
  expect(await watchPolicyOf(registry, embedded, byDefault)).toEqual(nothing);
  await registry.policies.set(id, policyOf({ every: '500ms', recoveryPoint: '1h' }));
  for (const source of [agent, embedded])
    expect(await watchPolicyOf(registry, source, byDefault)).toEqual({
      everyMs: 500,
      recoveryLimitMs: 3_600_000,
      excludes: [],
    });
  await registry.policies.set(id, { ...policyOf({}), excludes: ['*.tmp'] });
  expect(await watchPolicyOf(registry, agent, byDefault)).toEqual({ ...nothing, excludes: ['*.tmp'] });
});

test('a policy of before there were rules for watching is read as it is', () => {
  const kept = { full: { every: '7d', from: '2026-01-01T00:00:00Z' }, since: '2026-01-01T00:00:00Z' };
  expect(parsePolicy(kept)).toEqual(kept);
});
