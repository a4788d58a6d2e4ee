import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import type { TmError } from '../../model/errors.ts';
import { transportSuite } from '../transport.suite.ts';
import { KafkaRig, TestCounters } from './kafka-rig.suite.ts';
import { batch, commitEvent } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka());

transportSuite(
  'kafka',
  async ({ place, ...options }) => {
    const { connection } = rig.options(place);
    await ensureTopics(connection, { topicPrefix: `${place}.`, partitions: 3, replication: 1 });
    return rig.transport(place, options);
  },
  {
    backPressure:
      'a topic of Kafka holds what its retention says, handled or not; what is on its way there is bounded by room.ts',
  },
);

const made = async (place: string, partitions = 1) => {
  const { connection } = rig.options(place);
  await ensureTopics(connection, { topicPrefix: `${place}.`, partitions, replication: 1 });
};

test('the process of a handler is killed in the middle: what it had not finished comes to another one', async () => {
  await made('killed');
  const script = join(import.meta.dirname, '../../../test/services/kafka-consumer-process.ts');
  const child = spawn(process.execPath, [script, rig.cluster.brokers.join(','), 'killed'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const transport = rig.transport('killed', { sessionTimeoutMs: 2000 });
  await transport.publish(
    'change-events',
    [0, 1, 2, 3].map((n) => batch(n)),
  );
  let said = '';
  for await (const text of child.stdout) {
    said += String(text);
    if (said.includes('2')) break;
  }
  child.kill('SIGKILL');
  const taken: number[] = [];
  const all = Promise.withResolvers<void>();
  transport.subscribe('change-events', async (messages) => {
    taken.push(...messages.map(({ header }) => header.batchNo));
    if (taken.includes(3)) all.resolve();
  });
  await all.promise;
  await transport.close();
  expect(said).toBe('0\n1\n2\n');
  expect(taken).toEqual([2, 3]);
});

test('a handler that works longer than the session lasts keeps its partition, and has its messages once', async () => {
  await made('long', 2);
  const sessionTimeoutMs = 1000;
  const started: number[] = [];
  const counters = new TestCounters();
  const transports = [0, 1].map(() => rig.transport('long', { sessionTimeoutMs, counters }));
  for (const transport of transports) {
    transport.subscribe('change-events', async (messages, lost) => {
      started.push(...messages.map(({ header }) => header.sourceId));
      await new Promise((resolve) => setTimeout(resolve, 3 * sessionTimeoutMs));
      expect(lost.aborted).toBe(false);
    });
  }
  await transports[0]!.publish(
    'change-events',
    [1, 2].map((sourceId) => batch(0, { sourceId })),
  );
  await counters.until('messagesIn', 2);
  await Promise.all(transports.map((transport) => transport.close()));
  expect(started.toSorted()).toEqual([1, 2]);
});

test('instances join and leave while messages flow: each message is taken, none twice', async () => {
  await made('joining', 6);
  const taken: string[] = [];
  const counters = new TestCounters();
  const join = () => {
    const transport = rig.transport('joining', { counters, batch: 2 });
    transport.subscribe('change-events', async (messages) => {
      for (const { header } of messages) taken.push(`${header.sourceId}/${header.batchNo}`);
    });
    return transport;
  };
  const first = join();
  const publishing = (async () => {
    for (let n = 0; n < 60; n++)
      await first.publish(
        'change-events',
        [1, 2, 3, 4, 5].map((sourceId) => batch(n, { sourceId })),
      );
  })();
  await counters.until('messagesIn', 20);
  const second = join();
  await counters.until('messagesIn', 150);
  await second.close();
  await publishing;
  await counters.until('messagesIn', 300);
  await first.close();
  expect(taken).toHaveLength(300);
  expect(new Set(taken).size).toBe(300);
});

test('idle connections arm no timers: kafkajs alone would arm one a millisecond for each', async () => {
  await made('idle');
  const transport = rig.transport('idle');
  await transport.publish('change-events', [batch(0)]);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { user, system } = process.cpuUsage(cpu);
  const armed = timers.mock.calls.length;
  timers.mockRestore();
  await transport.close();
  expect(armed).toBeLessThanOrEqual(3);
  expect(user + system).toBeLessThan(50_000);
});

test('TM1515 when no broker answers, TM1516 for a topic that is not there, both in publish and at the start', async () => {
  const away = rig.transport('away', {
    connection: { brokers: ['127.0.0.1:1'], clientId: 'test', giveUpMs: 500, connectTimeoutMs: 500 },
  });
  await expect(away.publish('change-events', [batch(0)])).rejects.toMatchObject({
    code: 'TM1515',
    spec: { retry: true },
  });
  await expect(away.check(['change-events'])).rejects.toMatchObject({ code: 'TM1515' });
  away.subscribe('change-events', async () => {});
  await away.close();
  const crashed = Promise.withResolvers<TmError>();
  const nowhere = rig.transport('nowhere', { onCrash: (_topic, error) => crashed.resolve(error) });
  await expect(nowhere.publish('commits', [commitEvent(1)])).rejects.toMatchObject({ code: 'TM1516' });
  await expect(nowhere.check(['commits'])).rejects.toMatchObject({ code: 'TM1516' });
  nowhere.subscribe('delta-sets', async () => {});
  expect(await crashed.promise).toMatchObject({ code: 'TM1516' });
  await nowhere.close();
});

test('topics are made once, however many make them; what differs is named (TM1516) and left alone', async () => {
  const { connection } = rig.options('topics');
  const options = { topicPrefix: 'topics.', partitions: 4, replication: 1 };
  const results = await Promise.all([ensureTopics(connection, options), ensureTopics(connection, options)]);
  const names = ['change-events', 'delta-sets', 'commits', 'change-events.dlq', 'delta-sets.dlq'];
  expect([...new Set(results.flat())].toSorted()).toEqual(names.map((name) => `topics.${name}`).toSorted());
  expect(await ensureTopics(connection, options)).toEqual([]);
  expect(await ensureTopics(connection, { ...options, partitions: 3 })).toEqual([]);
  const other = ensureTopics(connection, { ...options, partitions: 5, retention: { commits: 1000 } });
  const error = await other.then(
    () => undefined,
    (cause: TmError) => cause,
  );
  expect(error).toMatchObject({ code: 'TM1516' });
  expect(error!.message).toContain('topics.change-events has partitions 4 instead of 5');
  expect(error!.message).toContain('topics.commits has retention.ms -1 instead of 1000');
  expect(await ensureTopics(connection, options)).toEqual([]);
});
