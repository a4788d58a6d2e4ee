import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { catalogueRoutes, scheduleRoutes } from '../../libs/contracts/api/control.ts';
import type { BackupView, SourceStatus } from '../../libs/contracts/api/control-views.ts';
import { watchRoutes } from '../../libs/contracts/api/watch.ts';
import type { HttpClient } from '../../libs/http/client.ts';
import { test } from '../needs.ts';
import { commitEvents, distinct } from './commit-events.ts';
import { Fleet } from './fleet.ts';
import { kafkaMissing } from './kafka.ts';
import { RegistryView, until } from './registry-view.ts';
import { type ServiceProcess, Stack } from './stack.ts';

/* Three agents that watch a folder each, over real Kafka and Postgres: what changes is backed up without anybody asking. */
const AGENTS = ['one', 'two', 'three'];
const LONG = 300_000;

const missing = kafkaMissing();

let stack: Stack;
let fleet: Fleet;
let registry: RegistryView;
let admin: HttpClient;
/** In the order of their names. */
let agents: ServiceProcess[];

beforeAll(async () => {
  if (missing) return;
  stack = await Stack.start({ calculators: 2, writers: 2 });
  fleet = new Fleet(stack);
  registry = new RegistryView(stack.registryUrl);
  admin = stack.admin();
}, 180_000);

afterAll(async () => {
  admin?.close();
  fleet?.close();
  await registry?.close();
  await stack?.close();
}, 60_000);

afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(stack.troubles);
});

async function statusOf(agent: string): Promise<SourceStatus | undefined> {
  const { sources } = await admin.call(catalogueRoutes.status, { query: { limit: 100 } });
  return sources.find(({ source }) => source.root === fleet.tree(agent));
}

/** The newest backup of an agent's folder, once that holds what is written now and no change waits. */
async function caughtUp(agent: string, mark: string): Promise<BackupView> {
  writeFileSync(join(fleet.tree(agent), mark), mark);
  return until(async () => {
    const status = await statusOf(agent);
    if (!status?.last || status.open || status.watch?.pending !== 0) return undefined;
    const query = { pattern: mark, source: status.source.id, limit: 1 };
    const { found } = await admin.call(catalogueRoutes.find, { query });
    return found.length > 0 && status.watch.recoveryPoint === 0 && status.last;
  });
}

const allCaughtUp = (mark: string): Promise<BackupView[]> =>
  Promise.all(AGENTS.map((agent) => caughtUp(agent, mark)));

/** They have to restore to what is there now. */
async function keep(newest: readonly BackupView[]): Promise<void> {
  for (const [i, backup] of newest.entries()) await fleet.keep(AGENTS[i]!, backup);
}

test('what changes in watched folders is backed up without anybody asking', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  for (const agent of AGENTS) await fleet.make(agent);
  const env = (agent: string) => ({ TIDEMARK_WATCH: fleet.tree(agent), TIDEMARK_WATCH_EVERY: '1s' });
  agents = await Promise.all(AGENTS.map((agent) => stack.addAgent(agent, env(agent))));
  await allCaughtUp('first');
  for (const round of [1, 2]) {
    for (const agent of AGENTS) await fleet.edit(agent, round);
    await keep(await allCaughtUp(`round-${round}`));
  }
  for (const agent of AGENTS) expect((await fleet.ended(agent)).length).toBeGreaterThanOrEqual(3);
});

test('an idle folder gets no backup, nor one where a file was touched without a difference', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  const before = await registry.backups();
  for (const agent of AGENTS) touch(join(fleet.tree(agent), 'whose'));
  await sleep(4000);
  expect(await registry.backups()).toEqual(before);
});

/** Its ctime moves, and nothing that a backup holds. */
const touch = (path: string): void => chmodSync(path, statSync(path).mode & 0o7777);

/** Of the newest backup of an agent's folder that holds such a file; undefined: none ever did. */
async function newestWith(agent: string, name: string): Promise<number | undefined> {
  const { id } = (await fleet.source(agent))!;
  const query = { pattern: name, source: id, limit: 1 };
  return (await admin.call(catalogueRoutes.find, { query })).found[0]?.seq;
}

test("a policy's excludes hold for a watch: as they change without a change on disk, for changes, after a start", {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  const agent = 'one';
  const file = (name: string) => join(fleet.tree(agent), name);
  const isHeld = async () => (await newestWith(agent, 'old.left-out')) === (await statusOf(agent))!.last!.seq;
  writeFileSync(file('old.left-out'), 'old');
  await caughtUp(agent, 'before-the-policy');
  expect(await isHeld()).toBe(true);
  const params = { id: (await fleet.source(agent))!.id };
  await admin.call(scheduleRoutes.putPolicy, { params, body: { excludes: ['*.left-out'] } });
  await until(async () => !(await isHeld()));
  const newest = await newestWith(agent, 'old.left-out');
  const expectLeftOut = async (mark: string) => {
    for (const name of ['old.left-out', 'new.left-out']) writeFileSync(file(name), mark);
    await caughtUp(agent, mark);
    expect(await newestWith(agent, 'new.left-out')).toBeUndefined();
    expect(await newestWith(agent, 'old.left-out')).toBe(newest);
  };
  await expectLeftOut('under-the-policy');
  expect(await agents[0]!.stop()).toBe(0);
  agents[0]!.start();
  await expectLeftOut('after-a-start');
  await admin.call(scheduleRoutes.deletePolicy, { params });
  await until(isHeld);
  expect(await newestWith(agent, 'new.left-out')).toBeGreaterThan(newest!);
  for (const name of ['old.left-out', 'new.left-out']) rmSync(file(name));
});

test('a job for a watched folder is done by its watch', { timeout: LONG }, async (context) => {
  if (missing) return context.skip(missing);
  const full = await fleet.once('one', 'full');
  expect(full?.kind).toBe('full');
  await allCaughtUp('after-a-full');
});

test('an agent that is killed has a gap from then on, which ends when it has looked at all', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  const agent = agents[1]!; // 'two'
  await agent.crash();
  await fleet.edit('two', 3);
  agent.start();
  // It is refused until the time of the one that was killed has lapsed.
  await until(async () => (await fetch(`${agent.url}/health/ready`).catch(() => undefined))?.ok);
  await allCaughtUp('after-the-kill');
  const { source } = (await statusOf('two'))!;
  const query = { from: new Date(Date.now() - 3_600_000).toISOString(), to: new Date().toISOString() };
  const gaps = await until(async () => {
    const { gaps } = await admin.call(watchRoutes.coverage, { params: { id: source.id }, query });
    return gaps.length > 0 && gaps.every(({ closedAt }) => closedAt !== null) && gaps;
  });
  expect(gaps).toContainEqual(expect.objectContaining({ reason: 'agent-down' }));
});

test('while no writer answers, changes wait and are told of; then they are backed up', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  await Promise.all(stack.writers.map((writer) => writer.crash()));
  for (const agent of AGENTS) writeFileSync(join(fleet.tree(agent), 'waits'), agent);
  const { url } = agents[0]!;
  const age = () => until(async () => waitingSeconds(await (await fetch(`${url}/metrics`)).text()));
  expect(await age()).toBeGreaterThan(1);
  for (const writer of stack.writers) writer.start();
  await Promise.all(stack.writers.map((writer) => writer.ready()));
  await keep(await allCaughtUp('after-the-writers'));
});

test('while Kafka is away, changes wait and are told of; then they are backed up', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  await stack.kafka.kill();
  for (const agent of AGENTS) writeFileSync(join(fleet.tree(agent), 'waits-for-kafka'), agent);
  const { url } = agents[2]!;
  const age = () => until(async () => waitingSeconds(await (await fetch(`${url}/metrics`)).text()));
  expect(await age()).toBeGreaterThan(1);
  await stack.kafka.restart();
  await keep(await allCaughtUp('after-kafka'));
});

/** Once it is more than a second. */
function waitingSeconds(metrics: string): number | undefined {
  const [, seconds] = /^tidemark_recovery_point_age_seconds\{.*\} (\S+)$/m.exec(metrics) ?? [];
  return Number(seconds) > 1 ? Number(seconds) : undefined;
}

test('there is one event for each commit, in order; every backup that was kept restores exactly', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  for (const agent of stack.agents) expect(await agent.stop()).toBe(0);
  const events = distinct(await commitEvents(stack, registry));
  for (const agent of AGENTS) {
    const { id } = (await fleet.source(agent))!;
    const own = events.filter(({ source }) => source.endsWith(id));
    expect(own.map(({ data }) => data.eventNo)).toEqual(own.map((_, i) => i + 1));
    const committed = (await fleet.ended(agent)).filter(({ state }) => state === 'committed');
    expect(own.filter(({ type }) => type === 'backup.committed').map(({ data }) => data.backupId)).toEqual(
      committed.map((backup) => backup.id),
    );
  }
  await fleet.expectAllRestored();
});
