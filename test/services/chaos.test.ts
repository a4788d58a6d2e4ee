import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { MessageChecker } from '../../libs/contracts/wire/message-checker.suite.ts';
import { KafkaRig } from '../../libs/transport/kafka/kafka-rig.suite.ts';
import { test } from '../needs.ts';
import { commitEvents, distinct } from './commit-events.ts';
import { FakeGcs, findFakeGcs } from './fake-gcs.ts';
import { Fleet } from './fleet.ts';
import { Gate, type Passing } from './gate.ts';
import { kafkaMissing } from './kafka.ts';
import { RegistryView, until } from './registry-view.ts';
import { type ServiceProcess, Stack } from './stack.ts';

/*
 * Three agents, two calculators, two writers over real Kafka, Postgres and somebody else's bucket. In each round every
 * agent's tree is changed and backed up while a calculator and a writer are killed at one moment of the work, which is
 * held until the kill has hit. A backup may fail by it with a code, and is asked for again; none may be smaller.
 */
const AGENTS = ['one', 'two', 'three'];
const BUCKET = 'tidemark-chaos';
const LONG = 120_000;

const found = await findFakeGcs();
const missing = kafkaMissing() ?? ('missing' in found ? found.missing : undefined);

let gcs: FakeGcs;
let gate: Gate;
let stack: Stack;
let fleet: Fleet;
let registry: RegistryView;

/** An upload of an object whose name has this in it. */
const uploadOf =
  (part: string) =>
  ({ method, url }: Passing): boolean =>
    method === 'POST' && url.includes('/upload/') && url.includes(part);

const calculator = (name: string) => stack.calculators.find((one) => one.name === name)!;

async function restart(...services: ServiceProcess[]): Promise<void> {
  for (const service of services) service.start();
  await Promise.all(services.map((service) => service.ready()));
}

/** The object of an upload, as the bucket itself knows it. */
async function isStored({ url }: Passing): Promise<boolean> {
  const name = new URL(url, gcs.url).searchParams.get('name')!;
  const reply = await fetch(`${gcs.url}/storage/v1/b/${BUCKET}/o/${encodeURIComponent(name)}`);
  return reply.ok;
}

async function committing(): Promise<string> {
  const rows = (await registry.backups()).filter(({ state }) => state === 'committing');
  expect(rows.length).toBeGreaterThan(0);
  return rows[0]!.id;
}

async function edited(round: number): Promise<void> {
  for (const agent of AGENTS) await fleet.edit(agent, round);
}

const backUpAll = () => Promise.all(AGENTS.map((agent) => fleet.backUp(agent)));

beforeAll(async () => {
  if (missing || 'missing' in found) return;
  gcs = await FakeGcs.start(found.binary);
  await gcs.makeBucket(BUCKET);
  gate = new Gate(gcs.url);
  stack = await Stack.start({
    calculators: 2,
    writers: 2,
    store: { url: `gs://${BUCKET}/cell`, gcsEndpoint: gcs.url },
    writerEnv: async (number) => ({ TIDEMARK_GCS_ENDPOINT: await gate.door(`writer ${number}`) }),
  });
  fleet = new Fleet(stack);
  registry = new RegistryView(stack.registryUrl);
}, 180_000);

afterAll(async () => {
  fleet?.close();
  await registry?.close();
  await stack?.close();
  await gate?.close();
  await gcs?.stop();
}, 60_000);

afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(stack.troubles);
});

test('fulls: a writer is killed while it uploads a pack of an agent, a calculator with it', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  for (const agent of AGENTS) await fleet.make(agent);
  const upload = gate.catch('before', uploadOf('/packs/'));
  await Promise.all(AGENTS.map((agent) => stack.addAgent(agent, { TIDEMARK_SOURCES: fleet.tree(agent) })));
  const held = await upload;
  const writer = stack.writers[Number(held.door.at(-1))]!;
  expect((await registry.backups()).map(({ state }) => state)).toContain('open');
  await Promise.all([writer.crash(), stack.calculators[0]!.crash()]);
  expect(await isStored(held)).toBe(false);
  held.release();
  await restart(writer, stack.calculators[0]!);
  const fulls = await Promise.all(AGENTS.map((agent) => fleet.first(agent)));
  expect(fulls.map(({ kind }) => kind)).toEqual(['full', 'full', 'full']);
});

test('differentials: a calculator and the control plane are killed while deltas are computed, a writer while it applies them', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  await edited(1);
  const release = await registry.lock('entries', 'access exclusive');
  const backups = backUpAll();
  const computing = await registry.waiting(
    stack.calculators.map(({ name }) => name),
    /entries/,
  );
  // All have been asked for by then: what asks is the test, and it asks once.
  await until(
    async () =>
      (await registry.backups()).filter(({ state }) => state !== 'committed' && state !== 'failed').length ===
      AGENTS.length,
  );
  await Promise.all([calculator(computing).crash(), stack.control.crash()]);
  const locked = registry.lock('entries', 'share');
  await release();
  const unlock = await locked;
  await restart(calculator(computing), stack.control);
  const applying = await registry.waiting(
    stack.writers.map(({ name }) => name),
    /entries/,
  );
  const writer = stack.writers.find(({ name }) => name === applying)!;
  await writer.crash();
  await unlock();
  await restart(writer);
  expect((await backups).map(({ kind }) => kind)).toEqual(AGENTS.map(() => 'differential'));
});

test('commits: a writer is killed before the journal has the backup, which fails and is made again', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  await edited(2);
  const failed = fleet.failures.length;
  const upload = gate.catch('before', uploadOf('/journal/'));
  const backups = backUpAll();
  const held = await upload;
  const id = await committing();
  const writer = stack.writers[Number(held.door.at(-1))]!;
  await Promise.all([writer.crash(), stack.calculators[1]!.crash()]);
  expect(await isStored(held)).toBe(false);
  await restart(writer, stack.calculators[1]!);
  await backups;
  expect((await registry.backups()).find((one) => one.id === id)).toMatchObject({
    state: 'failed',
    failure: 'TM1502',
  });
  expect(fleet.failures.slice(failed)).toContain('TM1502');
});

test('commits: a writer is killed when the journal has the backup and the registry not yet: it is committed', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  await edited(3);
  const upload = gate.catch('after', uploadOf('/journal/'));
  const backups = backUpAll();
  const held = await upload;
  const id = await committing();
  const writer = stack.writers[Number(held.door.at(-1))]!;
  await Promise.all([writer.crash(), stack.calculators[0]!.crash()]);
  expect(await isStored(held)).toBe(true);
  await restart(writer, stack.calculators[0]!);
  expect((await backups).map((backup) => backup.id)).toContain(id);
});

test('every committed backup has its event, in order and none missing; what has an event is committed', async (context) => {
  if (missing) return context.skip(missing);
  const events = distinct(await commitEvents(stack, registry));
  for (const [source, own] of Map.groupBy(events, (event) => event.source))
    expect(
      own.map(({ data }) => data.eventNo),
      source,
    ).toEqual(own.map((_, i) => i + 1));
  const told = (type: string) =>
    events.filter((event) => event.type === type).map(({ data }) => data.backupId);
  const rows = await registry.backups();
  const those = (state: string) => rows.filter((row) => row.state === state).map(({ id }) => id);
  expect(told('backup.committed').toSorted()).toEqual(those('committed').toSorted());
  expect(told('backup.failed').toSorted()).toEqual(those('failed').toSorted());
  expect(those('committed')).toHaveLength(AGENTS.length * 4);
  expect(rows.filter(({ state }) => state !== 'committed' && state !== 'failed')).toEqual([]);
});

test('all that the services sent on the three topics keeps to the published JSON Schemas', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  const checker = new MessageChecker();
  const kafka = new KafkaRig({ cluster: stack.kafka });
  const types: Record<string, string[]> = {};
  for (const topic of ['change-events', 'delta-sets', 'commits']) {
    const records = await kafka.read(topic, await kafka.count(topic));
    for (const { headers, value } of records) expect(checker.errors(topic, headers, value)).toEqual([]);
    types[topic] = [...new Set(records.map(({ value }) => JSON.parse(value.toString()).type))].toSorted();
  }
  expect(types).toEqual({
    'change-events': ['batch', 'seal'],
    'delta-sets': ['seal', 'segment'],
    commits: ['backup.committed', 'backup.failed', 'baseline.promoted'],
  });
});

test('all backups restore exactly, with nothing but the bucket and the identity', {
  timeout: LONG,
}, async (context) => {
  if (missing) return context.skip(missing);
  expect(await Promise.all(stack.services.map((service) => service.stop()))).toEqual(
    stack.services.map(() => 0),
  );
  expect(fleet.kept).toHaveLength(AGENTS.length * 4);
  await fleet.expectAllRestored();
});
