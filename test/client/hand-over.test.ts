import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { expect, vi } from 'vitest';
import { Agent } from '../../apps/fs-monitor-agent/agent.ts';
import { loadCredentials } from '../../libs/agent/credentials.ts';
import { remoteJobs } from '../../libs/agent/remote-jobs.ts';
import { AgentSession } from '../../libs/agent/session.ts';
import { Home } from '../../libs/embedded/home.ts';
import { runJobs } from '../../libs/schedule/job-runner.ts';
import { makeLog } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import type { Line, Result } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { differences, run, Services } from './services.suite.ts';

/** `backup` while the host's own agent runs: it makes the backup, and the command tells of it as of its own. */
let services: Services;
let env: NodeJS.ProcessEnv;
let agent: Agent | undefined;
let source: string;

const tidemark = (...args: string[]): Promise<Result> => services.place.run(args, env);
const ok = (...args: string[]): Promise<Result> => services.place.ok(args, env);
const withType = (lines: readonly Line[], type: string) => lines.filter((line) => line.type === type);
/** With a reader's token from elsewhere, which needs nothing of the agent. */
const jobs = async (...dir: string[]) => withType((await ok('jobs', ...dir)).lines, 'job');

async function signOn(): Promise<AgentSession> {
  const home = await Home.open(services.place.home);
  const credentials = (await loadCredentials(home.path))!;
  return AgentSession.signOn({ credentials, stateFile: (uid) => home.stateFile(uid) });
}

/** The agent of the host, in this process. */
async function startAgent(): Promise<Agent> {
  const file = (name: string) => services.place.path(name);
  const watching = { watched: [], everyMs: 1000, ledgerFile: file, stateFile: file };
  const parts = {
    log: makeLog('agent', 'silent'),
    metrics: new Metrics(),
    threads: 2,
    sources: [],
    ...watching,
  };
  const started = new Agent({ session: await signOn(), home: services.place.home, ...parts });
  started.start();
  agent = started;
  return started;
}

async function stopAgent(): Promise<void> {
  await agent?.stop();
  agent = undefined;
}

function folder(name: string, files: Record<string, string>): string {
  const path = services.place.path(name);
  mkdirSync(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(`${path}/${file}`, content);
  return path;
}

beforeAll(async () => {
  services = await Services.start('hand-over');
  env = await services.client();
  const { token } = await services.token('enrol');
  await services.place.ok(['init'], { ...env, TIDEMARK_ENROL_TOKEN: token });
  source = folder('source', { kept: 'content', 'left.tmp': 'left out' });
}, 120_000);

afterAll(async () => {
  await stopAgent();
  await services?.close();
}, 60_000);

test('the agent makes the backup of a new folder and the next ones, with the options that were given', {
  timeout: 120_000,
}, async () => {
  const own = folder('own', { file: 'x' });
  const alone = [await ok('backup', own), await ok('backup', own)];
  await startAgent();
  const first = await ok('backup', source, '--exclude', '*.tmp', '--tag', 'by=hand');
  expect(first.last).toMatchObject({ type: 'summary', kind: 'full', baseline: null, files: 1, added: 2 });
  writeFileSync(`${source}/new`, 'one more');
  const second = await ok('backup', source, '--exclude', '*.tmp');
  const dependent = { kind: 'differential', baseline: first.last.label, files: 2, added: 1 };
  expect(second.last).toMatchObject({ type: 'summary', ...dependent });
  expect((await ok('backup', source, '--full')).last).toMatchObject({
    kind: 'full',
    baseline: null,
    files: 3,
  });
  for (const [i, { lines, last }] of [first, second].entries()) {
    expect(Object.keys(last)).toEqual(Object.keys(alone[i]!.last));
    expect(new Set(lines.map(({ type }) => type)).has('error')).toBe(false);
  }
  expect((await jobs(source)).map(({ state, reason }) => [state, reason])).toEqual(
    Array.from({ length: 3 }, () => ['done', 'manual']),
  );
  expect(withType((await ok('backups', source)).lines, 'backup')[0]).toMatchObject({ tags: { by: 'hand' } });
  const target = services.place.path('restored');
  await ok('restore', 'latest', '--source', source, '--to', target);
  expect(differences(source, target)).toEqual({});
});

test('what the agent could not read is named, and the exit code is 3', {
  timeout: 60_000,
}, async (context) => {
  const partly = folder('partly', { file: 'seen', closed: 'first' });
  await ok('backup', partly);
  // More names than listxattr(2) can give: E2BIG.
  const script = `import os, sys
for i in range(300):
    os.setxattr(sys.argv[1], '%s.%0240d' % (sys.argv[2], i), b'')`;
  const space = process.getuid?.() === 0 ? 'trusted' : 'user';
  const made = spawnSync('python3', ['-c', script, `${partly}/closed`, space], { encoding: 'utf8' });
  if (made.status !== 0) context.skip(`this file system keeps fewer attributes: ${made.stderr}`);
  const { status, lines, last } = await tidemark('backup', partly);
  expect(status).toBe(3);
  expect(withType(lines, 'error')).toMatchObject([{ code: 'TM1110', path: 'closed' }]);
  expect(last).toMatchObject({ type: 'summary', kind: 'differential', files: 2, problems: 1 });
});

test('what the backup fails with is what the command fails with; --accept-root travels', {
  timeout: 60_000,
}, async () => {
  const emptied = folder('emptied', { a: 'a', b: 'b' });
  await ok('backup', emptied);
  for (const name of ['a', 'b']) rmSync(`${emptied}/${name}`);
  expect(await tidemark('backup', emptied)).toMatchObject({ status: 1, last: { code: 'TM1105' } });
  expect((await ok('backup', emptied, '--accept-root')).last).toMatchObject({ deleted: 2, files: 0 });
});

test('patterns that are no text are refused before anybody is asked', { timeout: 60_000 }, async () => {
  const file = services.place.path('patterns');
  writeFileSync(file, Buffer.from([0x61, 0xff]));
  const before = (await jobs()).length;
  const refused = await tidemark('backup', source, '--exclude-from', file);
  expect(refused).toMatchObject({ status: 2, last: { code: 'TM1001' } });
  expect(await jobs()).toHaveLength(before);
});

test('an interrupt has the agent give the backup up, and nothing is half done', {
  timeout: 120_000,
}, async () => {
  await stopAgent();
  const session = await signOn();
  const stopping = new AbortController();
  const none = { oneFileSystem: false, acceptRoot: false, threads: 1, skip: [] };
  const quiet = { onProblem: () => {}, onProgress: () => {} };
  const running = runJobs(
    {
      queue: remoteJobs(session.control),
      agent: session.agentId,
      execute: async ({ root, ...job }, signal) =>
        (await session.backup({ ...job, ...none, ...quiet, root: Buffer.from(root, 'base64'), signal })).id,
      now: () => new Date(),
      onError: () => {},
      heartbeatMs: 100,
    },
    stopping.signal,
  );
  const many = folder('many', {});
  run('sh', '-c', `cd ${many} && head -c 400000000 /dev/urandom | split -a 4 -b 20000`);
  const command = services.place.start(['backup', many], env);
  await vi.waitUntil(async () => (await jobs()).some(({ state }) => state === 'running'), {
    timeout: 20_000,
  });
  const asked = performance.now();
  command.kill('SIGINT');
  expect(await command.ended).toMatchObject({ status: 130, last: { code: 'TM1508' } });
  expect(performance.now() - asked).toBeLessThan(10_000);
  expect(await jobs(many)).toMatchObject([{ state: 'failed', failure: 'TM1508' }]);
  const isOver = async () => (await ok('status')).last.underWay === 0;
  await vi.waitUntil(isOver, { timeout: 20_000 });
  stopping.abort();
  await running;
  await session.close();
  await startAgent();
  expect((await ok('backup', many)).last).toMatchObject({ kind: 'full', files: 20_000 });
});

test('where the agent is stopped in the middle, the command takes its place', {
  timeout: 120_000,
}, async () => {
  const many = services.place.path('many');
  const running = services.place.start(['backup', many, '--full'], env);
  await vi.waitUntil(async () => (await jobs()).some(({ state }) => state === 'running'), {
    timeout: 20_000,
  });
  await stopAgent();
  expect(await running.ended).toMatchObject({ status: 0, last: { kind: 'full', files: 20_000 } });
});

test('where the process that has the identity takes no jobs and goes, so does the command', {
  timeout: 60_000,
}, async () => {
  const idle = await signOn();
  const running = services.place.start(['backup', source], env);
  await vi.waitUntil(async () => (await jobs()).some(({ state }) => state === 'waiting'), {
    timeout: 20_000,
  });
  await idle.close();
  expect(await running.ended).toMatchObject({ status: 0, last: { kind: 'differential' } });
  expect((await jobs()).filter(({ state }) => state === 'waiting')).toEqual([]);
});

test('an interrupt before anybody took the job leaves none', { timeout: 60_000 }, async () => {
  const idle = await signOn();
  const running = services.place.start(['backup', source], env);
  await vi.waitUntil(async () => (await jobs()).some(({ state }) => state === 'waiting'), {
    timeout: 20_000,
  });
  running.kill('SIGINT');
  expect(await running.ended).toMatchObject({ status: 130, last: { code: 'TM1508' } });
  expect((await jobs()).filter(({ state }) => state === 'waiting')).toEqual([]);
  await idle.close();
});
