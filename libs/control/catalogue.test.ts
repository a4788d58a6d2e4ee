import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unwrapDomain } from '../blocks/keys.ts';
import { backupRoutes, catalogueRoutes as routes, scheduleRoutes } from '../contracts/api/control.ts';
import type { BackupView } from '../contracts/api/control-views.ts';
import { pathToQuery } from '../contracts/api/wire.ts';
import type { HttpClient } from '../http/client.ts';
import { type EntryRecord, readRecords } from '../model/records.ts';
import { pathToJson } from '../model/tree-path.ts';
import { ControlRig, type Running, type TestAgent } from './rig.suite.ts';
import { pathOf } from './views.ts';

let rig: ControlRig;
let one: Running;
let agent: TestAgent;
let other: TestAgent;
let reader: HttpClient;
let full: BackupView;
let differential: BackupView;
let ofOther: BackupView;

const refused = (code: string) => expect.objectContaining({ code });
const NO_TEXT = Buffer.from([0x6e, 0xff]);

beforeAll(async () => {
  rig = await ControlRig.make();
  one = await rig.run();
  agent = await rig.agent(one, 'host');
  other = await rig.agent(one, 'other');
  reader = await rig.reader(one);
  const root = rig.folder('tree');
  mkdirSync(join(root, 'sub', 'deep'), { recursive: true });
  for (const name of ['a', 'b', 'sub/c', 'sub/deep/d']) writeFileSync(join(root, name), `of ${name}`);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/sub/`), NO_TEXT]), 'a name that is no text');
  symlinkSync('a', join(root, 'link'));
  full = await rig.backUp(one, agent, root);
  writeFileSync(join(root, 'a'), 'changed by now');
  writeFileSync(join(root, 'new'), 'added');
  rmSync(join(root, 'b'));
  differential = await rig.backUp(one, agent, root);
  writeFileSync(join(rig.folder('else'), 'new'), 'of somebody else');
  ofOther = await rig.backUp(one, other, rig.folder('else'));
});
afterAll(() => rig.close());

/** All pages of a list. */
async function all<T>(
  page: (query: { limit: number; after?: string }) => Promise<{ rows: T[]; next: string | null }>,
  limit = 2,
): Promise<T[]> {
  const rows: T[] = [];
  for (let after: string | undefined; ; ) {
    const answer = await page({ limit, ...(after && { after }) });
    expect(answer.rows.length).toBeLessThanOrEqual(limit);
    rows.push(...answer.rows);
    if (answer.next === null) return rows;
    after = answer.next;
  }
}

const entriesOf = (id: string, more: object = {}, client = reader) =>
  all(async (page) => {
    const { entries, next } = await client.call(routes.listEntries, {
      params: { id },
      query: { ...page, ...more },
    });
    return { rows: entries, next };
  });

test('sources and backups are listed page by page; an agent sees its own', async () => {
  const sources = await all(async (query) => {
    const { sources: rows, next } = await reader.call(routes.listSources, { query });
    return { rows, next };
  }, 1);
  expect(sources.map(({ agentId, agent: name }) => [agentId, name])).toEqual([
    [agent.id, 'host'],
    [other.id, 'other'],
  ]);
  const list = (client: HttpClient) =>
    all(async (query) => {
      const { backups: rows, next } = await client.call(routes.listBackups, { query });
      return { rows, next };
    });
  expect(await list(reader)).toEqual([full, differential, ofOther]);
  expect(await list(agent.client)).toEqual([full, differential]);
  const query = { source: ofOther.source };
  expect((await reader.call(routes.listBackups, { query })).backups).toEqual([ofOther]);
});

test('the entries of a backup, whole, below a folder, and its children', async () => {
  const paths = async (id: string, more: object = {}) => (await entriesOf(id, more)).map(({ path }) => path);
  const noText = { base64: Buffer.concat([Buffer.from('sub/'), NO_TEXT]).toString('base64') };
  const sub = ['sub/c', 'sub/deep', noText, 'sub/deep/d'];
  expect(await paths(full.id)).toEqual(['.', 'a', 'b', 'link', 'sub', ...sub]);
  expect(await paths(differential.id)).toEqual(['.', 'a', 'link', 'new', 'sub', ...sub]);
  const within = pathToQuery(Buffer.from('sub'));
  expect(await paths(full.id, { within })).toEqual(['sub', ...sub]);
  expect(await paths(full.id, { within, depth: 'children' })).toEqual(['sub', ...sub.slice(0, 3)]);
  const link = (await entriesOf(full.id, {}, agent.client)).find(({ path }) => path === 'link');
  expect(link).toMatchObject({ type: 'symlink', target: 'a', seq: 1 });
  await expect(entriesOf(full.id, { after: 'bm9uc2Vuc2U' })).rejects.toEqual(refused('TM1807'));
});

test('the same as records, with state and hints', async () => {
  const records: EntryRecord[] = [];
  for (let after: string | undefined; ; ) {
    const query = { limit: 4, ...(after && { after }) };
    const body = await reader.call(routes.listRecords, { params: { id: differential.id }, query });
    const length = body.readUInt16LE(0);
    records.push(...readRecords(body.subarray(2 + length)));
    if (length === 0) break;
    after = body.subarray(2, 2 + length).toString('ascii');
  }
  const entries = await entriesOf(differential.id);
  expect(records.map((record) => pathToJson(pathOf(record)))).toEqual(entries.map(({ path }) => path));
  for (const { state, hints } of records) expect([state.length > 0, hints.length]).toEqual([true, 32]);
});

test('what differs between two backups', async () => {
  const diff = (more: object = {}) =>
    all(async (page) => {
      const query = { ...page, ...more };
      const { changes, next } = await reader.call(routes.diff, { params: { id: differential.id }, query });
      return { rows: changes, next };
    });
  const ops = (await diff()).filter(({ path }) => path !== '.').map(({ op, path }) => [op, path]);
  expect(ops).toEqual([
    ['changed', 'a'],
    ['deleted', 'b'],
    ['added', 'new'],
  ]);
  expect(await diff({ from: differential.id })).toEqual([]);
  await expect(diff({ from: ofOther.id })).rejects.toEqual(refused('TM1807'));
});

test('paths are found in all backups, or in those of one’s own', async () => {
  const find = (pattern: string, client = reader, more: object = {}) =>
    all(async (page) => {
      const { found, next } = await client.call(routes.find, { query: { ...page, pattern, ...more } });
      return { rows: found.map(({ path, label }) => [path, label]), next };
    }, 1);
  expect(await find('[b]')).toEqual([]);
  expect(await find('b')).toEqual([['b', full.label]]);
  const own = ['new', differential.label];
  expect(await find('new')).toEqual([own, ['new', ofOther.label]]);
  expect(await find('n?w', agent.client)).toEqual([own]);
  expect(await find('new', reader, { source: ofOther.source })).toEqual([['new', ofOther.label]]);
  expect(await find('sub/**')).toHaveLength(4);
});

test('status tells how each source stands', async () => {
  const opened = await rig.open(agent, rig.folder('tree'));
  const { sources, store } = await reader.call(routes.status, { query: {} });
  expect(store.id).toBe(one.cell.storeRow.storeId);
  expect(sources[0]).toMatchObject({
    last: { id: differential.id },
    lastFull: { id: full.id },
    open: { id: opened.backup.id, state: 'open' },
    failed: null,
  });
  expect(sources[0]!.ageSeconds).toBeLessThan(600);
  const input = { params: { id: opened.backup.id }, body: { code: 'TM1105' } };
  await agent.client.call(backupRoutes.abort, input);
  const after = (await reader.call(routes.status, { query: { limit: 1 } })).sources;
  expect(after).toHaveLength(1);
  expect(after[0]).toMatchObject({
    open: null,
    failed: { failure: 'TM1105' },
    last: { id: differential.id },
  });
});

test('problems of a backup, and what is not there', async () => {
  const params = { id: differential.id };
  expect((await reader.call(routes.listProblems, { params, query: {} })).problems).toEqual([]);
  const nothing = { id: crypto.randomUUID(), domain: crypto.randomUUID() };
  await expect(entriesOf(nothing.id)).rejects.toEqual(refused('TM1811'));
  await expect(reader.call(routes.domainKeys, { params: nothing })).rejects.toEqual(refused('TM1811'));
  const key = reader.call(routes.dataKey, { params: { id: '0'.repeat(32) } });
  await expect(key).rejects.toEqual(refused('TM1811'));
});

test('wrapped data keys of a domain can be fetched, and the identity opens its domain', async () => {
  const { registry, store } = one.cell;
  expect(await registry.domains.list()).toHaveLength(2);
  const { keys } = await reader.call(routes.domainKeys, { params: { domain: agent.domain.id } });
  await unwrapDomain(Buffer.from(keys[0]!.wrapped, 'base64'), rig.identity);
  for await (const { name } of store.list('keys/data/')) {
    const { wrapped } = await reader.call(routes.dataKey, { params: { id: name.split('/').at(-1)! } });
    expect(Buffer.from(wrapped, 'base64')).toEqual(await store.read(name));
    return;
  }
  expect.unreachable();
});

test('policies are kept, checked and dropped', async () => {
  const admin = rig.admin(one);
  const params = { id: full.source };
  const get = async () => (await reader.call(scheduleRoutes.getPolicy, { params })).policy;
  expect(await get()).toBeNull();
  const body = { full: { every: '7d' }, differential: { every: '1h' }, tags: { by: 'policy' } };
  const { policy } = await admin.call(scheduleRoutes.putPolicy, { params, body });
  expect(policy).toMatchObject({ full: { every: '7d', from: full.openedAt }, differential: { every: '1h' } });
  expect(await get()).toEqual(policy);
  const bad = admin.call(scheduleRoutes.putPolicy, { params, body: { full: { every: 'soon' } } });
  await expect(bad).rejects.toEqual(refused('TM1812'));
  await admin.call(scheduleRoutes.deletePolicy, { params });
  expect(await get()).toBeNull();
  await expect(admin.call(scheduleRoutes.deletePolicy, { params })).rejects.toEqual(refused('TM1811'));
});

test('a job is handed to its agent once, kept by heartbeats, and ended by whoever holds it', async () => {
  const next = (client: HttpClient, wait = 0) => client.call(scheduleRoutes.nextJob, { query: { wait } });
  expect((await next(agent.client)).handed).toBeNull();
  const waiting = next(agent.client, 20);
  const body = { source: full.source };
  const { job } = await rig.admin(one).call(scheduleRoutes.makeJob, { body });
  expect(job).toMatchObject({ kind: 'differential', reason: 'manual', agent: agent.id });
  const { handed, leaseSeconds } = await waiting;
  expect([handed?.job, leaseSeconds]).toEqual([job, 60]);
  expect((await next(agent.client)).handed).toBeNull();
  expect((await next(other.client)).handed).toBeNull();
  const { handedOut } = handed!;
  const params = { id: job.id };
  const beat = (client: HttpClient, count = handedOut) =>
    client.call(scheduleRoutes.jobHeartbeat, { params, body: { handedOut: count } });
  await beat(agent.client);
  await expect(beat(other.client)).rejects.toEqual(refused('TM1813'));
  await expect(beat(agent.client, handedOut + 1)).rejects.toEqual(refused('TM1813'));
  const done = { params, body: { handedOut, backup: differential.id } };
  await agent.client.call(scheduleRoutes.jobDone, done);
  const { jobs } = await reader.call(scheduleRoutes.listJobs, { query: body });
  expect(jobs).toEqual([expect.objectContaining({ id: job.id, state: 'done', backup: differential.id })]);
  await rig.admin(one).call(scheduleRoutes.makeJob, { body: { ...body, kind: 'full' } });
  const second = (await next(agent.client)).handed!;
  const failed = { handedOut: second.handedOut, code: 'TM1101' };
  await agent.client.call(scheduleRoutes.jobFailed, { params: { id: second.job.id }, body: failed });
  const [newest] = (await reader.call(scheduleRoutes.listJobs, { query: { ...body, limit: 1 } })).jobs;
  expect(newest).toMatchObject({ id: second.job.id, state: 'failed', failure: 'TM1101' });
});
