import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { BackupView } from '../../libs/contracts/api/control-views.ts';
import { Fleet } from './fleet.ts';
import { Gate, type Passing } from './gate.ts';
import { kafkaMissing } from './kafka.ts';
import { RegistryView, until } from './registry-view.ts';
import { type ServiceProcess, Stack } from './stack.ts';

/*
 * SIGTERM in the middle of work: within ten seconds the process has ended, and in order; what it was at is made again
 * or goes on elsewhere.
 */
const AGENT = 'one';
const WITHIN_MS = 10_000;
const LONG = 90_000;
const missing = kafkaMissing();

let stack: Stack;
let gate: Gate;
let fleet: Fleet;
let registry: RegistryView;
let agent: ServiceProcess;
let changes = 0;

const change = () => writeFileSync(join(fleet.tree(AGENT), `new ${++changes}`), randomBytes(300_000));
const isFrames = ({ method, url }: Passing): boolean => method === 'POST' && url.endsWith('/frames');

/** Ends it; `meanwhile` is done as soon as it knows. */
async function stopped(service: ServiceProcess, meanwhile = async () => {}): Promise<void> {
  const words = '"msg":"stopping"';
  const before = service.log.split(words).length;
  const began = performance.now();
  const stopping = service.stop();
  await until(async () => service.log.split(words).length > before);
  await meanwhile();
  expect(await stopping).toBe(0);
  expect(performance.now() - began).toBeLessThan(WITHIN_MS);
}

async function again(service: ServiceProcess): Promise<void> {
  service.start();
  await service.ready();
}

/** The backup that is open now. */
const openId = async () => (await registry.backups()).find(({ state }) => state === 'open')!.id;
const byId = async (id: string) => (await registry.backups()).find((backup) => backup.id === id)!;

async function expectCommitted(backup: Promise<BackupView | undefined>): Promise<void> {
  expect(await backup).toMatchObject({ state: 'committed' });
}

beforeAll(async () => {
  if (missing !== undefined) return;
  stack = await Stack.start({
    writerUrl: async (url) => {
      gate = new Gate(url);
      return gate.door('writer');
    },
  });
  fleet = new Fleet(stack);
  registry = new RegistryView(stack.registryUrl);
  mkdirSync(fleet.tree(AGENT));
  change();
  agent = await stack.addAgent(AGENT, { TIDEMARK_SOURCES: fleet.tree(AGENT) });
  await fleet.first(AGENT);
}, 180_000);
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});
afterAll(async () => {
  fleet?.close();
  await registry?.close();
  await stack?.close();
  await gate?.close();
}, 60_000);
afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(stack.troubles);
});

test('a calculator that computes', { timeout: LONG }, async () => {
  change();
  const unlock = await registry.lock('entries', 'access exclusive');
  const backup = fleet.once(AGENT);
  await registry.waiting([stack.calculators[0]!.name], /entries/);
  await stopped(stack.calculators[0]!, unlock);
  await again(stack.calculators[0]!);
  await expectCommitted(backup);
});

test('a writer that applies delta sets', { timeout: LONG }, async () => {
  change();
  const unlock = await registry.lock('entries', 'share');
  const backup = fleet.once(AGENT);
  await registry.waiting([stack.writers[0]!.name], /entries/);
  await stopped(stack.writers[0]!, unlock);
  await again(stack.writers[0]!);
  await expectCommitted(backup);
});

test('the control plane while an agent reads, and waits for the end of its backup', {
  timeout: LONG,
}, async () => {
  change();
  const caught = gate.catch('before', isFrames);
  const backup = fleet.once(AGENT);
  const frames = await caught;
  await stopped(stack.control);
  frames.release();
  await again(stack.control);
  await expectCommitted(backup);
});

test('an agent whose frames are on their way: its backup is ended at once, the next one is committed', {
  timeout: LONG,
}, async () => {
  change();
  const caught = gate.catch('before', isFrames);
  const backup = fleet.once(AGENT);
  const frames = await caught;
  const id = await openId();
  await stopped(agent);
  frames.release();
  expect(await byId(id)).toMatchObject({ state: 'failed', failure: 'TM1508' });
  await again(agent);
  await backup;
  change();
  await expectCommitted(fleet.once(AGENT));
});

test('an agent whose messages are on their way to a Kafka that hangs: it is not ready, and stops in order', {
  timeout: LONG,
}, async () => {
  change();
  const caught = gate.catch('before', isFrames);
  const backup = fleet.once(AGENT);
  const frames = await caught;
  const id = await openId();
  stack.kafka.freeze();
  try {
    frames.release();
    await until(async () => (await fetch(`${agent.url}/health/ready`)).status === 503);
    expect((await byId(id)).state).toBe('open');
    await stopped(agent);
    expect(await byId(id)).toMatchObject({ state: 'failed', failure: 'TM1508' });
  } finally {
    stack.kafka.thaw();
  }
  await again(agent);
  await backup;
  change();
  await expectCommitted(fleet.once(AGENT));
});
