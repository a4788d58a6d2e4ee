import { expect, test } from 'vitest';
import { useKafka } from '../../../test/services/use-kafka.ts';
import { KafkaRig } from './kafka-rig.suite.ts';
import { batch } from './messages.suite.ts';
import { ensureTopics } from './topics.ts';

const rig = new KafkaRig(useKafka({ nodes: 3 }));
const SOURCES = 24;
const nameOf = ({ sourceId, batchNo }: { sourceId: number; batchNo: number }): string =>
  `${sourceId}/${batchNo}`;

/** Different messages that were handled. */
class Inbox {
  readonly #names = new Set<string>();
  #changed = Promise.withResolvers<void>();

  add(headers: readonly { sourceId: number; batchNo: number }[]): void {
    for (const header of headers) this.#names.add(nameOf(header));
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async until(count: number): Promise<void> {
    while (this.#names.size < count) await this.#changed.promise;
  }
}

/** The broker that leads most partitions of a topic. */
async function busiestLeader(topic: string): Promise<number> {
  const { topics } = await rig.withAdmin((admin) => admin.fetchTopicMetadata({ topics: [topic] }));
  const leaders = Map.groupBy(topics[0]!.partitions, ({ leader }) => leader);
  return [...leaders].toSorted(([, a], [, b]) => b.length - a.length)[0]![0];
}

/** One list over all partitions a round, and many of them on their way at once; a broker ends amid them. */
async function sendWhile(place: string, end: (leader: number) => Promise<void>): Promise<void> {
  const topic = `${place}.change-events`;
  const { connection } = rig.options(place);
  await ensureTopics(connection, { topicPrefix: `${place}.`, partitions: 12, replication: 3 });
  const transport = rig.transport(place);
  const acknowledged = new Set<string>();
  const handled = new Inbox();
  transport.subscribe('change-events', async (messages) => handled.add(messages.map(({ header }) => header)));
  const round = async (batchNo: number) => {
    const sources = Array.from({ length: SOURCES }, (_, i) => i + 1);
    await transport.publish(
      'change-events',
      sources.map((sourceId) => batch(batchNo, { sourceId, backupId: `backup of ${sourceId}` })),
    );
    for (const sourceId of sources) acknowledged.add(nameOf({ sourceId, batchNo }));
  };
  await round(0);
  const leader = await busiestLeader(topic);
  const rounds: Promise<void>[] = [];
  for (let batchNo = 1; batchNo <= 40; batchNo++) {
    rounds.push(round(batchNo));
    if (batchNo === 10) await end(leader);
    if (batchNo % 10 === 0) await Promise.race(rounds.slice(-10));
  }
  await Promise.all(rounds);
  expect(acknowledged.size).toBe(41 * SOURCES);
  await rig.cluster.restart(leader);
  const records = await rig.read(topic, await rig.count(topic));
  const found = records.map(({ headers }) => ({
    sourceId: Number(headers.source),
    batchNo: Number(headers.batch),
  }));
  const names = new Set(found.map(nameOf));
  expect([...acknowledged].filter((name) => !names.has(name))).toEqual([]);
  await handled.until(acknowledged.size);
  await transport.close();
  for (const own of Map.groupBy(found, ({ sourceId }) => sourceId).values()) {
    const first = [...new Set(own.map(({ batchNo }) => batchNo))];
    expect(first).toEqual(first.toSorted((a, b) => a - b));
  }
}

test('a leader is killed amid sends to many partitions: nothing acknowledged is lost, each key stays in order', async () => {
  await sendWhile('killed', (leader) => rig.cluster.kill(leader));
}, 120_000);

test('a leader hands over amid sends to many partitions: nothing acknowledged is lost, each key stays in order', async () => {
  await sendWhile('stopped', (leader) => rig.cluster.stop(leader));
}, 120_000);
