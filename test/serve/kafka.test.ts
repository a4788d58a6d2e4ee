import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Rig } from '../rebuild/rig.ts';
import type { ServiceProcess } from '../services/stack.ts';
import { useKafka } from '../services/use-kafka.ts';
import { startAgent } from './agents.suite.ts';
import { ServeProcess } from './serve-process.ts';

const kafka = useKafka();
let rig: Rig;
let agent: ServiceProcess | undefined;
let serve: ServeProcess | undefined;

beforeAll(() => {
  rig = new Rig('serve-kafka');
});
afterAll(async () => {
  agent?.kill();
  await agent?.ended;
  await serve?.kill();
  await rig.close();
});

test('over real Kafka: topics are made, an agent’s backup and one made beside it commit and are told of', async () => {
  const brokers = { TIDEMARK_KAFKA_BROKERS: kafka.cluster.brokers.join(',') };
  const dir = rig.path('source');
  mkdirSync(dir);
  writeFileSync(rig.path('source', 'file'), 'content');
  serve = await ServeProcess.start({ ...rig.env('home'), ...brokers, TIDEMARK_KAFKA_PARTITIONS: '2' });
  const health = await fetch(`${serve.url}/health/ready`);
  expect(await health.json()).toMatchObject({ checks: { kafka: 'ok' } });
  agent = await startAgent(rig, serve, 'one', { ...brokers, TIDEMARK_SOURCES: dir });
  const { label } = await serve.until(({ type }) => type === 'backup.committed');
  rig.done('home', 'restore', String(label), '--source', `one:${dir}`, '--to', rig.path('restored'));
  expect(rig.done('home', 'cat', String(label), 'file', '--source', `one:${dir}`).text).toBe('content');
  const own = rig.done('home', 'backup', dir).last.label;
  await serve.until((line) => line.type === 'backup.committed' && line.label === own);
  expect(await serve.kill('SIGTERM')).toBe(0);
}, 120_000);
