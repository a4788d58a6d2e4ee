import { expect, vi } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, type Line, Rig } from '../rebuild/rig.ts';
import { freePort } from '../services/free-port.ts';
import type { ServiceProcess } from '../services/stack.ts';
import { startAgent } from './agents.suite.ts';
import { ServeProcess } from './serve-process.ts';

const TIMES = { timeout: 90_000 };

let rig: Rig;
let serve: ServeProcess;
let listen: string;
let agents: ServiceProcess[];

beforeAll(async () => {
  rig = new Rig('serve-agents');
  rig.makeTree(rig.path('source'));
  listen = `127.0.0.1:${await freePort()}`;
  agents = [];
  serve = await ServeProcess.start(env(), listen);
}, 60_000);
afterAll(async () => {
  for (const agent of agents) agent.kill();
  await Promise.all(agents.map(({ ended }) => ended));
  await serve?.kill();
  await rig.close();
});

const env = (): NodeJS.ProcessEnv => ({
  ...rig.env('home'),
  TIDEMARK_DEFAULT_POLICY: '--full-every 30d --differential-after-full',
});

async function addAgent(name: string, dir: string): Promise<ServiceProcess> {
  const agent = await startAgent(rig, serve, name, { TIDEMARK_SOURCES: dir });
  agents.push(agent);
  return agent;
}

const isCommitted = ({ type }: Line): boolean => type === 'backup.committed';

/** What the command lists of a source, oldest first. */
const backupsOf = (name: string, dir: string): Line[] =>
  rig.done('home', 'backups', '--source', `${name}:${dir}`).lines.filter(({ type }) => type === 'backup');

function expectRestores(name: string, dir: string, to: string): void {
  rig.done('home', 'restore', 'latest', '--source', `${name}:${dir}`, '--to', rig.path(to));
  expectSame(dir, rig.path(to));
}

test('an agent enrols, backs its folder up by itself over HTTP, and it restores exactly', TIMES, async () => {
  await addAgent('one', rig.path('source'));
  const { label } = await serve.until(isCommitted);
  expect(backupsOf('one', rig.path('source')).map((one) => one.label)).toContain(label);
  expectRestores('one', rig.path('source'), 'restored');
});

test('several agents at once are served side by side', TIMES, async () => {
  const names = ['two', 'three', 'four', 'five'];
  for (const name of names) rig.makeTree(rig.path(`source-${name}`));
  await Promise.all(names.map((name) => addAgent(name, rig.path(`source-${name}`))));
  const count = () => new Set(serve.committed().map(({ sourceId }) => sourceId)).size;
  await serve.until(() => count() === 5);
  for (const name of names) expectRestores(name, rig.path(`source-${name}`), `restored-${name}`);
});

test('the default policy makes an agent’s differentials', TIMES, async () => {
  await serve.until((line) => isCommitted(line) && line.kind === 'differential');
  const isMade = () => backupsOf('one', rig.path('source')).some(({ kind }) => kind === 'differential');
  await vi.waitUntil(isMade, { timeout: 60_000, interval: 500 });
});

test(
  'killed in the middle of an agent’s backup, and started again: the folder is backed up exactly',
  TIMES,
  async () => {
    const dir = rig.path('source-six');
    rig.makeTree(dir);
    const agent = await addAgent('six', dir);
    await vi.waitUntil(() => agent.log.includes('backup opened'), { timeout: 30_000, interval: 5 });
    expect(await serve.kill()).toBe(null);
    serve = await ServeProcess.start(env(), listen);
    await serve.until(isCommitted);
    expect(backupsOf('six', dir)).not.toEqual([]);
    expectRestores('six', dir, 'restored-six');
    rig.done('home', 'verify', '--read-data');
  },
);

test('a stop ends requests that agents wait with, in order and with 0', TIMES, async () => {
  const begun = performance.now();
  expect(await serve.kill('SIGTERM')).toBe(0);
  expect(performance.now() - begun).toBeLessThan(10_000);
});

test('a prune leaves all that the agents’ backups need', TIMES, () => {
  rig.done('home', 'prune');
  expectRestores('six', rig.path('source-six'), 'restored-pruned');
  rig.done('home', 'verify', '--read-data');
});
