import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { backupRoutes, scheduleRoutes as routes } from '../contracts/api/control.ts';
import type { BackupView, ScheduledView } from '../contracts/api/control-views.ts';
import type { HttpClient } from '../http/client.ts';
import { parsePolicyText } from '../schedule/policy-options.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';

let rig: ControlRig;
let one: Running;
let agent: TestAgent;
let reader: HttpClient;
let full: BackupView;
/** Uids of sources in the order in which they were made; only the first has a backup. */
let sources: string[];

const refused = (code: string) => expect.objectContaining({ code });

/** A source without a backup. */
async function tried(by: TestAgent, name: string): Promise<string> {
  const { backup, source } = await rig.open(by, rig.folder(name));
  await by.client.call(backupRoutes.abort, { params: { id: backup.id }, body: { code: 'TM1105' } });
  return source.uid;
}

const put = (id: string, body: object) =>
  rig.admin(one).call(routes.putPolicy, { params: { id }, body: { ...body } });

async function pages(limit: number): Promise<ScheduledView[][]> {
  const all: ScheduledView[][] = [];
  for (let after: string | undefined; ; ) {
    const query = { limit, ...(after && { after }) };
    const { sources: page, next } = await reader.call(routes.schedule, { query });
    all.push(page);
    if (next === null) return all;
    after = next;
  }
}
const uidsOf = (views: readonly ScheduledView[]) => views.map(({ source }) => source);

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run();
  agent = await rig.agent(one, 'host');
  const other = await rig.agent(one, 'other');
  reader = await rig.reader(one);
  writeFileSync(join(rig.folder('tree'), 'a'), 'of a');
  full = await rig.backUp(one, agent, rig.folder('tree'));
  sources = [full.source, await tried(agent, 'none'), await tried(other, 'new'), await tried(agent, 'last')];
});
afterAll(() => rig.close());

test('without a policy there is nothing', async () => {
  expect(await pages(200)).toEqual([[]]);
  const query = { source: full.source };
  expect(await reader.call(routes.schedule, { query })).toEqual({ sources: [], next: null });
});

test('sources with a policy come page by page, with what is due when', async () => {
  const [first, , second, third] = sources as [string, string, string, string];
  await put(third, { full: { every: '1d' }, paused: true });
  const { policy } = await put(first, { full: { every: '7d' }, differential: { every: '1h' } });
  await put(second, { full: { every: '7d' } });
  const all = (await pages(200)).flat();
  expect(all[0]).toEqual({
    source: first,
    agent: 'host',
    agentId: agent.id,
    root: rig.folder('tree'),
    policy,
    byDefault: false,
    next: { at: new Date(Date.parse(full.openedAt) + 3_600_000).toISOString(), kind: 'differential' },
    lastFull: full.openedAt,
    lastBackup: full.openedAt,
    jobs: [],
  });
  const nothing = { lastFull: null, lastBackup: null };
  expect(all[1]).toMatchObject({ source: second, agent: 'other', next: { kind: 'full' }, ...nothing });
  expect(all[2]).toMatchObject({ source: third, next: null, ...nothing });
  const uids = [first, second, third];
  expect((await pages(2)).map(uidsOf)).toEqual([uids.slice(0, 2), uids.slice(2)]);
  expect((await pages(1)).map(uidsOf)).toEqual([...uids.map((uid) => [uid]), []]);
});

test('one source alone is one page; its jobs are there until they have ended', async () => {
  const query = { source: full.source, limit: 1 };
  const schedule = async () => (await reader.call(routes.schedule, { query })).sources[0]!;
  const body = { source: full.source };
  const { job } = await rig.admin(one).call(routes.makeJob, { body });
  const { sources: page, next } = await reader.call(routes.schedule, { query });
  expect([uidsOf(page), next]).toEqual([[full.source], null]);
  expect(page[0]!.jobs).toEqual([expect.objectContaining({ ...job, state: 'waiting' })]);
  const { handed } = await agent.client.call(routes.nextJob, { query: {} });
  expect((await schedule()).jobs).toEqual([expect.objectContaining({ id: job.id, state: 'running' })]);
  const done = { handedOut: handed!.handedOut, backup: full.id };
  await agent.client.call(routes.jobDone, { params: { id: job.id }, body: done });
  expect((await schedule()).jobs).toEqual([]);
});

test('an agent, a source that is not there and a cursor of another list are refused', async () => {
  await expect(agent.client.call(routes.schedule, { query: {} })).rejects.toEqual(refused('TM1802'));
  const nowhere = { source: crypto.randomUUID() };
  await expect(reader.call(routes.schedule, { query: nowhere })).rejects.toEqual(refused('TM1811'));
  const after = { after: 'bm9uc2Vuc2U' };
  await expect(reader.call(routes.schedule, { query: after })).rejects.toEqual(refused('TM1807'));
});

test('with a default policy all sources of agents are listed, page by page, their own policies first', async () => {
  const defaultPolicy = parsePolicyText('--full-every 30d --differential-every 2h', 'UTC');
  const two = await rig.run({ defaultPolicy });
  const there = two.server.client(await rig.token(two, 'reader'));
  const listed = async (query: object) => there.call(routes.schedule, { query: { ...query } });
  const all = (await listed({})).sources;
  expect(uidsOf(all)).toEqual(sources);
  const own = await pages(200);
  expect(all.filter(({ byDefault }) => !byDefault)).toEqual(own.flat());
  const [byDefault] = all.filter((view) => view.byDefault);
  expect(byDefault).toMatchObject({ policy: defaultPolicy, next: { kind: 'full' }, lastFull: null });
  const first = await listed({ limit: 3 });
  const second = await listed({ limit: 3, after: first.next });
  expect([uidsOf(first.sources), uidsOf(second.sources), second.next]).toEqual([
    sources.slice(0, 3),
    sources.slice(3),
    null,
  ]);
  const alone = await listed({ source: byDefault!.source });
  expect(alone).toEqual({ sources: [byDefault], next: null });
  expect((await reader.call(routes.schedule, { query: { source: byDefault!.source } })).sources).toEqual([]);
});
