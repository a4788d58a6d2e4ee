import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  agentRoutes,
  backupRoutes,
  catalogueRoutes,
  scheduleRoutes as routes,
} from '../contracts/api/control.ts';
import type { HttpClient } from '../http/client.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';

let rig: ControlRig;
let one: Running;
let agent: TestAgent;
/** Has the agent's token and is no process of the agent's. */
let beside: HttpClient;
let other: HttpClient;

const refused = (code: string) => expect.objectContaining({ code });
const look = (id: string, client = beside) => client.call(routes.getJob, { params: { id } });
const ask = (root: string, more: object = {}, client = beside) => {
  const params = { id: randomUUID() };
  return client.call(routes.askBackup, { params, body: { root, ...more } }).then(({ job }) => job);
};

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run();
  agent = await rig.agent(one, 'host');
  beside = one.server.client(agent.token);
  other = one.server.client((await rig.agent(one, 'other')).token);
  writeFileSync(join(rig.folder('tree'), 'a'), 'of a');
});
afterAll(() => rig.close());

test('who has the token asks for a backup beside the process, follows it, and leaves the identity alone', async () => {
  const root = rig.folder('tree');
  const asked = await ask(root, { tags: { by: 'hand' }, excludes: ['*.tmp'], acceptRoot: true });
  expect(asked).toMatchObject({ root, kind: 'full', reason: 'manual', agent: agent.id, acceptRoot: true });
  expect(await look(asked.id)).toMatchObject({ job: { state: 'waiting' }, agent: 'idle', made: null });
  const { handed } = await agent.client.call(routes.nextJob, { query: {} });
  expect(handed?.job).toEqual({ ...asked, tags: { by: 'hand' }, excludes: ['*.tmp'] });
  expect(await look(asked.id)).toMatchObject({ job: { state: 'running' }, agent: null });
  const full = await rig.backUp(one, agent, root);
  const done = { handedOut: handed!.handedOut, backup: full.id };
  await agent.client.call(routes.jobDone, { params: { id: asked.id }, body: done });
  expect(await look(asked.id)).toMatchObject({
    job: { state: 'done', backup: full.id },
    made: { backup: { label: full.label }, baseline: null },
  });
  const input = { params: { id: full.id }, query: {} };
  expect(await beside.call(catalogueRoutes.listProblems, input)).toEqual({ problems: [], next: null });
  await agent.client.call(agentRoutes.signOn, { body: {} });
});

test('a differential names its baseline; one without a full is refused, and so is a path that is not absolute', async () => {
  const root = rig.folder('tree');
  const asked = await ask(root);
  expect(asked.kind).toBe('differential');
  const { handed } = await agent.client.call(routes.nextJob, { query: {} });
  const made = await rig.backUp(one, agent, root);
  const done = { handedOut: handed!.handedOut, backup: made.id };
  await agent.client.call(routes.jobDone, { params: { id: asked.id }, body: done });
  const { backups } = await agent.client.call(catalogueRoutes.listBackups, { query: {} });
  expect((await look(asked.id)).made).toMatchObject({ backup: { id: made.id }, baseline: backups[0]!.label });
  const kind = { kind: 'differential' };
  await expect(ask(rig.folder('new'), kind)).rejects.toEqual(refused('TM1001'));
  await expect(ask('tree')).rejects.toEqual(refused('TM1807'));
  for (const text of ['nul\0', '\udc80'])
    await expect(ask(root, { excludes: [text] })).rejects.toEqual(refused('TM1807'));
});

test('the same request twice is one job', async () => {
  const params = { id: randomUUID() };
  const body = { root: rig.folder('tree') };
  const first = await beside.call(routes.askBackup, { params, body });
  expect(await beside.call(routes.askBackup, { params, body })).toEqual(first);
  expect((await agent.client.call(routes.nextJob, { query: {} })).handed?.job.id).toBe(params.id);
  expect((await agent.client.call(routes.nextJob, { query: {} })).handed).toBeNull();
  expect(await beside.call(routes.cancelJob, { params, query: {} })).toEqual({ was: 'running' });
});

test('a job that is called off is gone where it waited, and refused to the agent that has it', async () => {
  const cancel = (id: string, query = {}) => beside.call(routes.cancelJob, { params: { id }, query });
  const waits = await ask(rig.folder('tree'));
  expect(await cancel(waits.id, { only: 'waiting' })).toEqual({ was: 'waiting' });
  await expect(look(waits.id)).rejects.toEqual(refused('TM1811'));
  const runs = await ask(rig.folder('tree'));
  const { handed } = await agent.client.call(routes.nextJob, { query: {} });
  expect(handed?.job.id).toBe(runs.id);
  const beat = () => {
    const body = { handedOut: handed!.handedOut };
    return agent.client.call(routes.jobHeartbeat, { params: { id: runs.id }, body });
  };
  expect(await cancel(runs.id, { only: 'waiting' })).toEqual({ was: null });
  await beat();
  expect(await cancel(runs.id)).toEqual({ was: 'running' });
  await expect(beat()).rejects.toEqual(refused('TM1813'));
  expect((await look(runs.id)).job).toMatchObject({ state: 'failed', failure: 'TM1508' });
  expect(await cancel(runs.id)).toEqual({ was: null });
});

test("another agent's jobs can't be seen or called off, and an agent asks its own process only", async () => {
  const asked = await ask(rig.folder('tree'));
  const params = { id: asked.id };
  await expect(look(asked.id, other)).rejects.toEqual(refused('TM1811'));
  expect(await other.call(routes.cancelJob, { params, query: {} })).toEqual({ was: null });
  expect((await look(asked.id)).job.state).toBe('waiting');
  const theirs = await ask(rig.folder('tree'), {}, other);
  expect(theirs.agent).not.toBe(agent.id);
  expect(theirs.source).not.toBe(asked.source);
  const { handed } = await agent.client.call(routes.nextJob, { query: {} });
  expect(handed?.job.id).toBe(asked.id);
  await beside.call(routes.cancelJob, { params, query: {} });
});

test("an agent that names another's backup as its own is not believed", async () => {
  const liar = await rig.agent(one, 'liar');
  const asked = await ask(rig.folder('tree'), {}, one.server.client(liar.token));
  const { handed } = await liar.client.call(routes.nextJob, { query: {} });
  const { backups } = await agent.client.call(catalogueRoutes.listBackups, { query: {} });
  const done = { handedOut: handed!.handedOut, backup: backups[0]!.id };
  await liar.client.call(routes.jobDone, { params: { id: asked.id }, body: done });
  expect(await look(asked.id, one.server.client(liar.token))).toMatchObject({
    job: { state: 'done' },
    made: null,
  });
});

test('whether the agent is there is told: idle, busy with another folder, away', async () => {
  const asked = await ask(rig.folder('tree'));
  expect((await look(asked.id)).agent).toBe('idle');
  const { backup } = await rig.open(agent, rig.folder('second'));
  expect((await look(asked.id)).agent).toBe('busy');
  await agent.client.call(backupRoutes.abort, { params: { id: backup.id }, body: { code: 'TM1105' } });
  await agent.client.call(agentRoutes.signOff, { body: {} });
  expect((await look(asked.id)).agent).toBe('away');
  await agent.client.call(agentRoutes.signOn, { body: {} });
  expect((await look(asked.id)).agent).toBe('idle');
  await beside.call(routes.cancelJob, { params: { id: asked.id }, query: {} });
});

test('a token fills no queue: of one agent so many jobs wait, and more are told to come again', async () => {
  const patient = one.server.client(agent.token, { deadline: 0 });
  const ids: string[] = [];
  for (let i = 0; i < 100; i++) ids.push((await ask(rig.folder('tree'), {}, patient)).id);
  await expect(ask(rig.folder('tree'), {}, patient)).rejects.toEqual(refused('TM1808'));
  await ask(rig.folder('tree'), {}, other);
  for (const id of ids) await beside.call(routes.cancelJob, { params: { id }, query: {} });
});

test('all else that the token may do still needs the process', async () => {
  await expect(beside.call(catalogueRoutes.listSources, { query: {} })).rejects.toEqual(refused('TM1807'));
  await expect(beside.call(backupRoutes.open, { body: { root: '/' } })).rejects.toEqual(refused('TM1807'));
  const second = one.server.client(agent.token, { instance: randomUUID() });
  await expect(second.call(catalogueRoutes.listSources, { query: {} })).rejects.toEqual(refused('TM1803'));
});
