import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, vi } from 'vitest';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, Rig } from '../rebuild/rig.ts';
import { ServeProcess } from './serve-process.ts';

const TIMES = { timeout: 60_000 };

let rig: Rig;
let serve: ServeProcess;

beforeAll(async () => {
  rig = new Rig('serve');
  rig.makeTree(rig.path('source'));
  serve = await ServeProcess.start(rig.env('home'));
}, 60_000);
afterAll(async () => {
  await serve?.kill();
  await rig.close();
});

test(
  'on an empty home it makes all it needs and is well; a backup made beside it is told of, and restores',
  TIMES,
  async () => {
    const health = await fetch(`${serve.url}/health/ready`);
    expect(await health.json()).toEqual({ status: 'ok', checks: { registry: 'ok', store: 'ok' } });
    const { label } = rig.done('home', 'backup', rig.path('source')).last;
    await serve.until((line) => line.type === 'backup.committed' && line.label === label);
    rig.done('home', 'restore', 'latest', '--to', rig.path('restored'));
    expectSame(rig.path('source'), rig.path('restored'));
  },
);

test(
  'a policy that is set beside it makes its backups: a full at once, a differential after it',
  TIMES,
  async () => {
    mkdirSync(rig.path('planned'));
    writeFileSync(rig.path('planned', 'file'), 'content');
    rig.done('home', 'policy', 'set', rig.path('planned'), '--full-every', '7d', '--differential-after-full');
    const made = await serve.until(
      (line) => line.type === 'backup.committed' && line.kind === 'differential',
    );
    const of = rig.done('home', 'backups', rig.path('planned')).lines.filter(({ type }) => type === 'backup');
    expect(of.map(({ kind }) => kind)).toEqual(['full', 'differential']);
    expect(of.at(-1)?.label).toBe(made.label);
  },
);

test('it is what `--server` talks to', TIMES, async () => {
  const { token } = rig.done('home', 'token', 'reader').last;
  const env = { TIDEMARK_TOKEN: String(token), TIDEMARK_HOME: rig.path('other') };
  const { status, lines, text } = rig.tidemark('other', ['backups', '--server', serve.url], env);
  expect(status, text).toBe(0);
  expect(lines.filter(({ type }) => type === 'backup')).toHaveLength(3);
});

test('a port that is taken is one clear message', TIMES, async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const second = new ServeProcess(rig.env('home'), `127.0.0.1:${port}`);
  expect(await second.ended).toBe(2);
  expect(second.lines.at(-1)).toMatchObject({ type: 'error', code: 'TM1002' });
  expect(second.lines.at(-1)?.message).toContain(`127.0.0.1:${port}`);
  expect(second.log).toBe('');
  server.close();
});

test(
  'killed in the middle of a backup by policy, and started again: the next one is exact',
  TIMES,
  async () => {
    const dir = rig.path('again');
    rig.makeTree(dir);
    await serve.kill();
    serve = await ServeProcess.start({ ...rig.env('home'), LOG_LEVEL: 'info' });
    rig.done('home', 'policy', 'set', dir, '--full-every', '7d');
    await vi.waitUntil(() => serve.log.includes('a backup is due'), { timeout: 30_000, interval: 5 });
    await serve.kill();
    serve = await ServeProcess.start(rig.env('home'));
    const { label } = rig.done('home', 'backup', dir).last;
    rig.done('home', 'restore', String(label), '--source', dir, '--to', rig.path('restored-again'));
    expectSame(dir, rig.path('restored-again'));
  },
);

test('SIGTERM ends it in order, with 0; nothing was wrong until then', TIMES, async () => {
  const begun = performance.now();
  expect(await serve.kill('SIGTERM')).toBe(0);
  expect(performance.now() - begun).toBeLessThan(10_000);
  expect(serve.lines.at(-1)).toMatchObject({ type: 'summary' });
  expect(serve.log).toBe('');
  rig.done('home', 'verify', '--read-data');
});
