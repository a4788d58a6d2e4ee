import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openCell } from '../cell/open-cell.ts';
import { agentRoutes, backupRoutes, catalogueRoutes } from '../contracts/api/control.ts';
import type { Seal } from '../contracts/messages.ts';
import type { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';
import { reap } from './end-backups.ts';
import { planShards } from './open-backup.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';

let rig: ControlRig;
let one: Running;
let two: Running;
let agent: TestAgent;
let foreign: TestAgent;
let reader: HttpClient;

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run();
  two = await rig.run();
  agent = await rig.agent(one, 'host');
  foreign = await rig.agent(one, 'foreign');
  reader = await rig.reader(one);
});
afterAll(() => rig.close());

const refused = (code: string) => expect.objectContaining({ code });
const byId = (id: string) => ({ params: { id } });
const heartbeat = ({ client }: TestAgent, id: string) =>
  client.call(backupRoutes.heartbeat, { ...byId(id), body: {} });
const abort = ({ client }: TestAgent, id: string) =>
  client.call(backupRoutes.abort, { ...byId(id), body: { code: 'TM1508' } });
const get = async (id: string, wait = 0) =>
  (await reader.call(backupRoutes.getBackup, { ...byId(id), query: { wait } })).backup;

/** As a writer would. */
function sealOf(
  backup: { id: string; epoch: { generation: number; counter: number } },
  sourceId: number,
): Seal {
  return {
    type: 'seal',
    header: { backupId: backup.id, sourceId, epoch: backup.epoch, shard: 0, batchNo: 0, schema: 1 },
    batches: [1],
    batchDigest: Buffer.alloc(32),
    stateDigest: Buffer.alloc(32),
    totals: { files: 0, directories: 0, others: 0, bytes: 0, newBytes: 0, storedBytes: 0, problems: 0 },
    readFrom: 0,
    readTo: 0,
    rootHint: '{}',
  };
}

/** The lease has run out by now. */
async function loseLease(running: Running, id: string): Promise<void> {
  const { backups } = running.cell.registry;
  const { epoch } = (await backups.get(id))!;
  await backups.renew(id, epoch, 0);
}

test('opening gives all that a first backup needs, and a second one the base', async () => {
  const root = rig.folder('a');
  writeFileSync(join(root, 'file'), 'content');
  const first = await rig.open(agent, root);
  expect(first).toMatchObject({
    backup: { kind: 'full', seq: 1, baseSeq: 0, state: 'open' },
    source: { domain: agent.domain.id, rootHint: null, baseline: 0 },
    base: null,
    damaged: false,
    lease: { seconds: 60, renewSeconds: 15 },
    shards: 4,
    writers: ['http://writer.test'],
  });
  expect(Buffer.from(first.macKey, 'base64')).toHaveLength(32);
  await abort(agent, first.backup.id);
  const committed = await rig.backUp(one, agent, root);
  expect(committed).toMatchObject({ state: 'committed', seq: 2, counts: { files: 1 } });
  const next = await rig.open(agent, root);
  expect(next).toMatchObject({
    backup: { kind: 'differential', baseSeq: 2, baselineSeq: 2 },
    base: { backup: { id: committed.id }, stateDigest: committed.stateDigest },
    shards: 1,
  });
  expect(next.source.rootHint).not.toBeNull();
  expect(next.macKey).not.toBe(first.macKey);
  const { paths } = await agent.client.call(backupRoutes.damaged, { ...byId(next.backup.id), query: {} });
  expect(paths).toEqual([]);
  await abort(agent, next.backup.id);
});

test('entries of the base that lack a block are named, page by page', async () => {
  const root = rig.folder('damaged');
  for (const name of ['a', 'b', 'c']) writeFileSync(join(root, name), `content of ${name}`);
  await rig.backUp(one, agent, root);
  const { registry } = one.cell;
  const ids: Buffer[] = [];
  for await (const page of registry.blocks.packs(agent.domain.id)) ids.push(...page.map(({ id }) => id));
  for (const id of ids) {
    const blocks = await registry.blocks.blocksOf(agent.domain.id, id);
    await registry.blocks.markDamaged(
      agent.domain.id,
      blocks.map((block) => block.id),
    );
  }
  const opened = await rig.open(agent, root);
  expect(opened.damaged).toBe(true);
  const paths: unknown[] = [];
  for (let after: string | undefined; ; ) {
    const query = { limit: 2, ...(after && { after }) };
    const page = await agent.client.call(backupRoutes.damaged, { ...byId(opened.backup.id), query });
    paths.push(...page.paths);
    if (page.next === null) break;
    after = page.next;
  }
  expect(paths).toEqual(['a', 'b', 'c']);
  await abort(agent, opened.backup.id);
});

test('what is not a good order is refused', async () => {
  await expect(rig.open(agent, '/nothing', 'differential')).rejects.toEqual(refused('TM1001'));
  await expect(rig.open(agent, 'relative')).rejects.toEqual(refused('TM1807'));
});

test('one backup of a source at a time, over both control planes; the same process may begin anew', async () => {
  const opened = await rig.open(agent, '/slot');
  const { registry } = two.cell;
  const source = (await registry.catalogue.source(opened.source))!;
  const lease = { seconds: 60, macKey: Buffer.alloc(32), instance: randomUUID(), shards: 1 };
  const other = registry.backups.open({ sourceId: source.id, kind: 'full', tags: {}, lease }, new Date());
  await expect(other).rejects.toEqual(refused('TM1501'));
  const again = await rig.open(agent, '/slot');
  expect(again.backup.seq).toBe(opened.backup.seq + 1);
  expect(await get(opened.backup.id)).toMatchObject({ state: 'failed', failure: 'TM1502' });
  await registry.backups.seal(again.backup.id, again.backup.epoch, sealOf(again.backup, source.id));
  await expect(rig.open(agent, '/slot')).rejects.toEqual(refused('TM1501'));
});

test('an agent has no business with the backups and sources of another', async () => {
  const { backup, source } = await rig.open(agent, '/mine');
  await expect(heartbeat(foreign, backup.id)).rejects.toEqual(refused('TM1802'));
  await expect(abort(foreign, backup.id)).rejects.toEqual(refused('TM1802'));
  for (const route of [backupRoutes.getBackup, backupRoutes.damaged, catalogueRoutes.listEntries])
    await expect(foreign.client.call(route, { ...byId(backup.id), query: {} })).rejects.toEqual(
      refused('TM1802'),
    );
  const query = { source: source.uid };
  await expect(foreign.client.call(catalogueRoutes.listBackups, { query })).rejects.toEqual(
    refused('TM1802'),
  );
  expect(
    (await foreign.client.call(catalogueRoutes.listBackups, { query: { all: 'true' } })).backups,
  ).toEqual([]);
  expect((await foreign.client.call(catalogueRoutes.listSources, { query: {} })).sources).toEqual([]);
  expect(await get(backup.id)).toMatchObject({ state: 'open' });
  await expect(heartbeat(agent, randomUUID())).rejects.toEqual(refused('TM1811'));
});

test('a stale agent: its lease is lost, the backup ended, and all that it still asks for is refused', async () => {
  const { backup, source } = await rig.open(agent, '/stale');
  expect(await heartbeat(agent, backup.id)).toEqual({ state: 'open', leaseSeconds: 60 });
  const ended = get(backup.id, 20);
  await loseLease(two, backup.id);
  expect(await ended).toMatchObject({ state: 'failed', failure: 'TM1512' });
  await expect(heartbeat(agent, backup.id)).rejects.toEqual(refused('TM1502'));
  const seal = one.cell.registry.backups.seal(backup.id, backup.epoch, sealOf(backup, source.number));
  await expect(seal).rejects.toBeInstanceOf(TmError);
  expect((await abort(agent, backup.id)).backup).toMatchObject({ state: 'failed', failure: 'TM1512' });
  const next = await rig.open(agent, '/stale');
  expect(next.backup.seq).toBe(backup.seq + 1);
});

test('a process that was started anew does not keep the backup of the one before', async () => {
  const host = await rig.agent(one, 'restarted');
  const { backup } = await rig.open(host, '/restarted');
  await host.client.call(agentRoutes.signOff, { body: {} });
  const instance = randomUUID();
  const started = { ...host, instance, client: one.server.client(host.token, { instance }) };
  await started.client.call(agentRoutes.signOn, { body: {} });
  await expect(heartbeat(started, backup.id)).rejects.toEqual(refused('TM1502'));
  await abort(started, backup.id);
  expect(await get(backup.id)).toMatchObject({ state: 'failed', failure: 'TM1508' });
});

test('a sealed backup of which nothing is applied any more is ended', async () => {
  const { backup, source } = await rig.open(agent, '/halted');
  const { registry } = one.cell;
  await registry.backups.seal(backup.id, backup.epoch, sealOf(backup, source.number));
  await loseLease(one, backup.id);
  expect(await get(backup.id)).toMatchObject({ state: 'sealed' });
  await Promise.all([reap(registry, 0), reap(two.cell.registry, 0)]);
  expect(await get(backup.id)).toMatchObject({ state: 'failed', failure: 'TM1513' });
  const events = (await registry.outbox.pending(1000)).filter(({ data }) => data.backupId === backup.id);
  expect(events.map(({ type, data }) => [type, data.code])).toEqual([['backup.failed', 'TM1513']]);
});

test('one that waits for a backup is answered when it ends, and after its time', async () => {
  const { backup } = await rig.open(agent, '/waiting');
  expect(await get(backup.id, 0.2)).toMatchObject({ state: 'open' });
  const waiting = [get(backup.id, 30), get(backup.id, 30)];
  await abort(agent, backup.id);
  for (const answer of waiting) expect(await answer).toMatchObject({ state: 'failed', failure: 'TM1508' });
});

test('a control plane that dies between the journal and the registry leaves nothing that keeps others from going on', async () => {
  const cell = await openCell(rig.config, () => 0);
  const death = new TmError('TM1301', 'killed here');
  vi.spyOn(cell.registry.backups, 'ensureSource').mockRejectedValue(death);
  const killed = await rig.run({ cell });
  const host = await rig.agent(killed, 'survivor');
  const dead = killed.server.client(host.token, { instance: host.instance });
  await expect(dead.call(backupRoutes.open, { body: { root: '/killed' } })).rejects.toEqual(
    refused('TM1301'),
  );
  const heir = await rig.run({ cell: await openCell(rig.config, () => 0) });
  expect(heir.cell.writer).toBe(cell.writer);
  const client = heir.server.client(host.token, { instance: host.instance });
  const { source } = await rig.open({ ...host, client }, '/killed');
  const { sources } = await client.call(catalogueRoutes.listSources, { query: {} });
  expect(sources.map(({ id }) => id)).toEqual([source.uid]);
});

test.each([
  ['differential', 10_000_000, 1],
  ['full', 0, 1],
  ['full', 50_000, 1],
  ['full', 50_001, 2],
  ['full', 10_000_000, 16],
] as const)('a %s over %d entries has %d shards', (kind, files, shards) => {
  expect(planShards(kind, { files, directories: 0, others: 0 } as never)).toBe(shards);
});
