import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from './registry-view.ts';
import { ServiceProcess } from './stack.ts';

let folder: string;
let agent: ServiceProcess;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-agent-waits-'));
});
afterEach(() => {
  agent.kill();
  rmSync(folder, { recursive: true });
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function start(env: NodeJS.ProcessEnv): Promise<void> {
  agent = new ServiceProcess('fs-monitor-agent', await freePort(), join(folder, 'log'), {
    PATH: process.env.PATH,
    TIDEMARK_HOME: join(folder, 'home'),
    TIDEMARK_AGENT_NAME: 'one',
    ...env,
  });
  agent.start();
}

const asked = async (path: string) => {
  const reply = await fetch(`${agent.url}/health/${path}`).catch(() => undefined);
  return reply && { status: reply.status, text: await reply.text() };
};

test('an agent whose control plane is away says so while it waits: alive, not ready, stopped in order', async () => {
  const nobody = await freePort();
  await start({ TIDEMARK_SERVER: `http://127.0.0.1:${nobody}`, TIDEMARK_ENROL_TOKEN: 'tm_enrol_none' });
  await until(async () => (await asked('live'))?.status === 200);
  expect(await asked('ready')).toMatchObject({
    status: 503,
    text: expect.stringContaining('not signed on yet'),
  });
  expect(await agent.stop()).toBe(0);
});

test('without credentials and a token to get some it ends with what is missing', async () => {
  await start({ TIDEMARK_SERVER: 'http://127.0.0.1:1' });
  expect(await agent.ended).toBe(2);
  const last = JSON.parse(agent.log.trim().split('\n').at(-1)!);
  expect(last).toMatchObject({ code: 'TM1002', level: 'error' });
  expect(agent.log).toContain('TIDEMARK_ENROL_TOKEN');
});
