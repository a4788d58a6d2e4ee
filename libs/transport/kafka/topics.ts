import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin } from 'kafkajs';
import { MAX_MESSAGE_BYTES } from '../../contracts/wire/limits.ts';
import { TmError } from '../../model/errors.ts';
import { connectKafka } from './client.ts';
import type { KafkaConnection } from './connection.ts';
import { toTmError } from './kafka-error.ts';
import { DLQ_OF, topicName } from './topic-names.ts';

const DAY_MS = 86_400_000;

export interface TopicsOptions {
  readonly topicPrefix?: string;
  /** Of change-events and delta-sets; commits and the DLQs have at most 6 of them. */
  readonly partitions: number;
  /** Copies of each partition; with three, two have to have a message before it is acknowledged. */
  readonly replication: number;
  /** Milliseconds that messages are kept; -1 without end. */
  readonly retention?: {
    /** change-events and delta-sets, which are of no use once their backup has ended; 7 days. */
    readonly pieces?: number;
    /** commits, which new readers read from the first one on; without end. */
    readonly commits?: number;
    /** 30 days, for people to look at. */
    readonly deadLetters?: number;
  };
  /** Milliseconds to wait until new topics can be used; the default is 30,000. */
  readonly waitMs?: number;
}

export interface TopicPlan {
  readonly name: string;
  readonly partitions: number;
  readonly replication: number;
  readonly config: Readonly<Record<string, string>>;
}

/** A batch holds one message of the largest size at least; what Kafka adds to it is far less than this. */
const OVERHEAD_BYTES = 64 * 1024;
const FEW_PARTITIONS = 6;

/** All topics with everything stated that matters to us. */
function planTopics(options: TopicsOptions): TopicPlan[] {
  const { topicPrefix = '', partitions, replication, retention = {} } = options;
  const { pieces = 7 * DAY_MS, commits = -1, deadLetters = 30 * DAY_MS } = retention;
  const few = Math.min(partitions, FEW_PARTITIONS);
  const plan = (
    topic: Parameters<typeof topicName>[1],
    count: number,
    retentionMs: number,
    maxBytes = MAX_MESSAGE_BYTES + OVERHEAD_BYTES,
  ): TopicPlan => ({
    name: topicName(topicPrefix, topic),
    partitions: count,
    replication,
    config: {
      'cleanup.policy': 'delete',
      'retention.ms': String(retentionMs),
      'retention.bytes': '-1',
      'max.message.bytes': String(maxBytes),
      'min.insync.replicas': String(replication > 2 ? 2 : 1),
      'compression.type': 'producer',
      'unclean.leader.election.enable': 'false',
    },
  });
  // A dead letter holds what came, whatever it was compressed with.
  const deadBytes = 4 * MAX_MESSAGE_BYTES;
  return [
    plan('change-events', partitions, pieces),
    plan('delta-sets', partitions, pieces),
    plan('commits', few, commits),
    plan(DLQ_OF['change-events'], few, deadLetters, deadBytes),
    plan(DLQ_OF['delta-sets'], few, deadLetters, deadBytes),
  ];
}

/**
 * Makes the topics that are not there; may run any number of times. Gives the names of those that it made. One that is
 * there but differs from the plan is left as it is: TM1516 names all differences, when the rest is made.
 */
export async function ensureTopics(connection: KafkaConnection, options: TopicsOptions): Promise<string[]> {
  const plans = planTopics(options);
  const admin = connectKafka(connection).admin();
  try {
    await admin.connect();
    const there = new Set(await admin.listTopics());
    const missing = plans.filter(({ name }) => !there.has(name));
    await create(admin, missing, options.waitMs ?? 30_000);
    const existing = plans.filter(({ name }) => there.has(name));
    const differences = await differencesOf(admin, existing);
    if (differences.length > 0) throw new TmError('TM1516', differences.join('; '));
    return missing.map(({ name }) => name);
  } catch (error) {
    throw toTmError(error, 'making the topics');
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

/** Another process may make them at the same time; the leaders come later than the topics. */
async function create(admin: Admin, plans: readonly TopicPlan[], waitMs: number): Promise<void> {
  if (plans.length === 0) return;
  const topics = plans.map(({ name, partitions, replication, config }) => ({
    topic: name,
    numPartitions: partitions,
    replicationFactor: replication,
    configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
  }));
  await admin.createTopics({ topics, waitForLeaders: false });
  const until = Date.now() + waitMs;
  while (!(await haveLeaders(admin, plans))) {
    if (Date.now() > until) throw new TmError('TM1515', 'new topics have no leaders yet');
    await sleep(50);
  }
}

async function haveLeaders(admin: Admin, plans: readonly TopicPlan[]): Promise<boolean> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: plans.map(({ name }) => name) });
    return plans.every(({ name, partitions }) => {
      const found = topics.find((topic) => topic.name === name)?.partitions ?? [];
      return found.length === partitions && found.every(({ leader }) => leader >= 0);
    });
  } catch (error) {
    const code = toTmError(error, '').code;
    if (code === 'TM1516' || code === 'TM1515') return false;
    throw error;
  }
}

async function differencesOf(admin: Admin, plans: readonly TopicPlan[]): Promise<string[]> {
  if (plans.length === 0) return [];
  const { topics } = await admin.fetchTopicMetadata({ topics: plans.map(({ name }) => name) });
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: plans.map(({ name, config }) => ({
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name,
      configNames: Object.keys(config),
    })),
  });
  return plans.flatMap((plan) => {
    const found = topics.find(({ name }) => name === plan.name)?.partitions ?? [];
    const config = resources.find(({ resourceName }) => resourceName === plan.name)?.configEntries ?? [];
    const values = new Map(config.map(({ configName, configValue }) => [configName, configValue]));
    return [
      difference(plan.name, 'partitions', found.length, plan.partitions),
      difference(plan.name, 'replication', found[0]?.replicas.length ?? 0, plan.replication),
      ...Object.entries(plan.config).map(([key, value]) =>
        difference(plan.name, key, values.get(key) ?? 'unknown', value),
      ),
    ].filter((text) => text !== undefined);
  });
}

/** More partitions than planned are no harm: somebody has grown the topic. */
function difference(
  topic: string,
  what: string,
  is: string | number,
  planned: string | number,
): string | undefined {
  if (String(is) === String(planned)) return undefined;
  if (what === 'partitions' && Number(is) > Number(planned)) return undefined;
  return `${topic} has ${what} ${is} instead of ${planned}`;
}
