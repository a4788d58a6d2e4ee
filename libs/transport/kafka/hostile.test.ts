import { beforeEach, expect, test } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import { MessageChecker } from '../../contracts/wire/message-checker.suite.ts';
import { TmError } from '../../model/errors.ts';
import type { AdmittedBackup } from '../admission.ts';
import type { KafkaOptions } from './kafka-options.ts';
import { everyBackup, KafkaRig, macKeyOf, TestCounters } from './kafka-rig.suite.ts';
import { BACKUP, batch, commitEvent, signed } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';
import type { KafkaTransport } from './transport.ts';

const rig = new KafkaRig(useKafka());
let places = 0;
let place: string;
let counters: TestCounters;
/** Numbers of the batches that a handler took. */
let taken: number[];
let poisoned: { backupId: string; code: string }[];

beforeEach(async () => {
  place = `hostile-${++places}`;
  counters = new TestCounters();
  taken = [];
  poisoned = [];
  const { connection } = rig.options(place);
  await ensureTopics(connection, { topicPrefix: `${place}.`, partitions: 1, replication: 1 });
});

const changes = () => `${place}.change-events`;
const dlq = () => `${changes()}.dlq`;

function options(more: Partial<KafkaOptions> = {}): Partial<KafkaOptions> {
  return {
    counters,
    onPoison: async (_topic, message, error) => {
      const { backupId } = (message as { header: { backupId: string } }).header;
      poisoned.push({ backupId, code: (error as TmError).code });
    },
    ...more,
  };
}

/** A transport whose handler takes everything. */
function taking(more: Partial<KafkaOptions> = {}): KafkaTransport {
  const transport = rig.transport(place, options(more));
  transport.subscribe('change-events', async (messages) => {
    taken.push(...messages.map(({ header }) => header.batchNo));
  });
  return transport;
}

const backups = (state: Partial<AdmittedBackup>) => ({
  admit: async (ids: readonly string[]) => {
    const known = await everyBackup(ids);
    return new Map([...known].map(([id, backup]) => [id, { ...backup, ...state }]));
  },
});

test('forged: a message with a wrong MAC goes to the DLQ as TM1510, is counted, and fails no backup', async () => {
  const forged = signed(batch(1), { key: Buffer.alloc(32) });
  await rig.put(changes(), [signed(batch(0)), forged, signed(batch(2))]);
  const transport = taking();
  await counters.until('messagesIn', 3);
  await transport.close();
  expect(taken).toEqual([0, 2]);
  expect(poisoned).toEqual([]);
  expect(counters.of('forged')).toBe(1);
  const [letter] = await rig.read(dlq(), 1);
  expect(letter).toMatchObject({ key: '1:0', value: forged.value });
  const headers = Object.fromEntries(
    Object.entries(letter!.headers).map(([name, value]) => [name, String(value)]),
  );
  expect(headers).toEqual({ ...forged.headers, 'error-code': 'TM1510', origin: `${changes()}/0@1` });
  expect(await rig.committed('test', changes())).toEqual([3]);
});

test('garbage without headers goes to the DLQ as TM1510: nobody who belongs here wrote it', async () => {
  await rig.put(changes(), [{ value: Buffer.from('not for us') }, { value: null }, signed(batch(0))]);
  const transport = taking();
  await counters.until('messagesIn', 3);
  await transport.close();
  expect(taken).toEqual([0]);
  const letters = await rig.read(dlq(), 2);
  expect(letters.map(({ headers }) => String(headers['error-code']))).toEqual(['TM1510', 'TM1510']);
  expect(letters.map(({ value }) => value && String(value))).toEqual(['not for us', null]);
});

test('poison: an authentic message that is no message goes to the DLQ as TM1505 and fails its backup', async () => {
  const poison = signed(batch(1), { value: Buffer.from('{"type":"batch"}') });
  await rig.put(changes(), [signed(batch(0)), poison, signed(batch(2))]);
  const transport = taking();
  await counters.until('messagesIn', 3);
  await transport.close();
  expect(taken).toEqual([0, 2]);
  expect(poisoned).toEqual([{ backupId: BACKUP, code: 'TM1505' }]);
  const [letter] = await rig.read(dlq(), 1);
  expect(String(letter!.headers['error-code'])).toBe('TM1505');
  expect(letter!.value).toEqual(poison.value);
});

test('oversized: an authentic message over 1 MiB goes to the DLQ as TM1511 and fails its backup', async () => {
  const huge = signed(batch(1), { value: Buffer.alloc(1024 * 1024 + 1, ' ') });
  await rig.put(changes(), [huge, signed(batch(2))]);
  const transport = taking();
  await counters.until('messagesIn', 2);
  await transport.close();
  expect(taken).toEqual([2]);
  expect(poisoned).toEqual([{ backupId: BACKUP, code: 'TM1511' }]);
  const [letter] = await rig.read(dlq(), 1);
  expect(String(letter!.headers['error-code'])).toBe('TM1511');
  expect(letter!.value).toEqual(huge.value);
});

test('duplicated: a message that comes twice is handed over twice, the same each time', async () => {
  const same = signed(batch(7));
  await rig.put(changes(), [same, same]);
  const transport = taking();
  await counters.until('messagesIn', 2);
  await transport.close();
  expect(taken).toEqual([7, 7]);
  expect(counters.of('poisoned') + counters.of('forged')).toBe(0);
});

test('replayed from zero: what is of ended backups is dropped as late, whatever its MAC', async () => {
  const records = [0, 1, 2].map((n) => signed(batch(n)));
  await rig.put(changes(), [...records, signed(batch(3), { key: Buffer.alloc(32) })]);
  const first = taking({ admission: backups({ state: 'open' }) });
  await counters.until('messagesIn', 4);
  await first.close();
  expect(taken).toEqual([0, 1, 2]);
  // Somebody resets the group; or it is a new one, which starts at the first message.
  await rig.withAdmin((admin) =>
    admin.resetOffsets({ groupId: `test.${changes()}`, topic: changes(), earliest: true }),
  );
  const ended = (['committed', 'failed', 'fenced', 'committing'] as const).map((state) => backups({ state }));
  for (const [n, admission] of [...ended, { admit: async () => new Map() }].entries()) {
    taken = [];
    counters = new TestCounters();
    const again = taking({ admission, group: n === 0 ? 'test' : `other-${n}` });
    await counters.until('messagesIn', 4);
    await again.close();
    expect(counters.of('late')).toBe(4);
    expect(taken).toEqual([]);
  }
  expect(await rig.count(dlq())).toBe(1);
});

test('older epoch: a message of a holder that lost its source is dropped and counted (TM1502)', async () => {
  const now = { generation: 2, counter: 5 };
  const older = [
    { generation: 2, counter: 4 },
    { generation: 1, counter: 9 },
  ];
  await rig.put(
    changes(),
    [...older, now].map((epoch, n) => signed(batch(n, { epoch }))),
  );
  const transport = taking({ admission: backups({ epoch: now }) });
  await counters.until('messagesIn', 3);
  await transport.close();
  expect(taken).toEqual([2]);
  expect(counters.of('stale')).toBe(2);
  expect(poisoned).toEqual([]);
  expect(await rig.count(dlq())).toBe(0);
});

test('newer schema: the partition is paused (TM1514), nothing behind it is passed over or lost', async () => {
  const newer = signed(batch(1), { headers: { schema: '2' }, value: Buffer.from('{"of":"the future"}') });
  await rig.put(changes(), [signed(batch(0)), newer, signed(batch(2))]);
  let state: AdmittedBackup['state'] = 'open';
  const admission = {
    admit: async (ids: readonly string[]) =>
      new Map(ids.map((id) => [id, { state, epoch: { generation: 1, counter: 1 }, macKey: macKeyOf(id) }])),
  };
  const transport = taking({ admission, newerMs: 20 });
  await counters.until('newer', 3);
  expect(taken).toEqual([0]);
  expect(await rig.committed('test', changes())).toEqual([1]);
  expect(poisoned).toEqual([]);
  // Its backup ends (TM1513): then it is late, and the partition goes on.
  state = 'failed';
  await counters.until('late', 2);
  await transport.close();
  expect(await rig.committed('test', changes())).toEqual([3]);
  expect(await rig.count(dlq())).toBe(0);
});

test('an offset is committed only when the DLQ has the message and its backup is told', async () => {
  await rig.put(changes(), [signed(batch(0), { value: Buffer.from('{}') })]);
  const refusals: number[] = [];
  const onPoison = async () => {
    refusals.push((await rig.committed('test', changes()))[0]!);
    if (refusals.length < 3) throw new TmError('TM1301', 'of the test');
  };
  const transport = taking({ onPoison });
  await counters.until('poisoned', 1);
  await transport.close();
  expect(refusals).toEqual([-1, -1, -1]);
  expect(await rig.committed('test', changes())).toEqual([1]);
});

test('while the registry is away nothing is taken, dropped or committed', async () => {
  await rig.put(changes(), [signed(batch(0))]);
  let isAway = true;
  const admission = {
    admit: async (ids: readonly string[]) => {
      if (isAway) throw new TmError('TM1301', 'of the test');
      return everyBackup(ids);
    },
  };
  const said: unknown[] = [];
  const log = (_: string, message: string, { backup }: Readonly<Record<string, unknown>>) =>
    message.startsWith('a delivery failed') && said.push(backup);
  const transport = taking({ admission, connection: { ...rig.options(place).connection, log } });
  await counters.until('retried', 3);
  expect(new Set(said)).toEqual(new Set([BACKUP]));
  expect(await rig.committed('test', changes())).toEqual([-1]);
  isAway = false;
  await counters.until('messagesIn', 1);
  await transport.close();
  expect(taken).toEqual([0]);
});

test('an event that is none is no reason to stop: commits has no DLQ and no backups', async () => {
  await rig.put(`${place}.commits`, [{ value: Buffer.from('?') }]);
  const transport = rig.transport(place, options());
  const ids: string[] = [];
  transport.subscribe('commits', async (events) => {
    ids.push(...events.map(({ id }) => id));
  });
  await transport.publish('commits', [commitEvent(1), commitEvent(2)]);
  await counters.until('messagesIn', 3);
  await transport.close();
  expect(ids).toEqual(['a6b7:1', 'a6b7:2']);
  expect(counters.of('poisoned')).toBe(1);
});

test('messages really sent keep to the published JSON Schemas, and are counted', async () => {
  const transport = rig.transport(place, options());
  await transport.publish('change-events', [batch(0), batch(1, { sourceId: 2, backupId: 'backup of 2' })]);
  await transport.publish('commits', [commitEvent(1)]);
  const sent = [...(await rig.read(changes(), 2)), ...(await rig.read(`${place}.commits`, 1))];
  await transport.close();
  const checker = new MessageChecker();
  for (const { topic, headers, value } of sent)
    expect(checker.errors(topic.slice(place.length + 1), headers, value)).toEqual([]);
  expect(sent.map(({ key }) => key)).toEqual(['1:0', '2:0', 'a6b7']);
  expect(counters.of('messagesOut')).toBe(3);
  expect(counters.of('bytesOut')).toBe(sent.reduce((sum, { value }) => sum + value.length, 0));
});
