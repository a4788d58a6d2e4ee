import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import type { KafkaConnection } from '../transport/kafka/connection.ts';
import type { TransportCounters } from '../transport/kafka/counters.ts';
import type { MacKeys } from '../transport/kafka/kafka-options.ts';
import { KafkaTransport } from '../transport/kafka/transport.ts';
import { failBackup } from '../writer/end-backup.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import { die } from './run-service.ts';

export interface KafkaConfig {
  readonly TIDEMARK_KAFKA_BROKERS: readonly string[];
  readonly TIDEMARK_KAFKA_TLS: boolean;
  /** PEM. */
  readonly TIDEMARK_KAFKA_CA?: string | undefined;
  readonly TIDEMARK_KAFKA_MECHANISM?: 'plain' | 'scram-sha-256' | 'scram-sha-512' | undefined;
  readonly TIDEMARK_KAFKA_USERNAME?: string | undefined;
  readonly TIDEMARK_KAFKA_PASSWORD?: string | undefined;
  readonly TIDEMARK_KAFKA_TOPIC_PREFIX: string;
}

export interface KafkaConsumerConfig extends KafkaConfig {
  /** Seconds. */
  readonly TIDEMARK_KAFKA_SESSION: number;
}

export function kafkaConnection(config: KafkaConfig, clientId: string, log: Log): KafkaConnection {
  const mechanism = config.TIDEMARK_KAFKA_MECHANISM;
  const username = config.TIDEMARK_KAFKA_USERNAME;
  const password = config.TIDEMARK_KAFKA_PASSWORD;
  const ca = config.TIDEMARK_KAFKA_CA;
  return {
    brokers: config.TIDEMARK_KAFKA_BROKERS,
    clientId,
    ...(config.TIDEMARK_KAFKA_TLS || ca !== undefined ? { tls: { ca } } : {}),
    ...(mechanism && username !== undefined && password !== undefined
      ? { sasl: { mechanism, username, password } }
      : {}),
    log: (level, message, { backup, ...details }) =>
      log[level]({ ...(backup !== undefined && { backup }), kafka: details }, message),
  };
}

/** The transport of a service that has a registry: it admits messages by it, and signs with the keys that it holds. */
export function openKafka(
  config: KafkaConsumerConfig,
  service: {
    readonly name: string;
    readonly registry: Registry;
    readonly metrics: Metrics;
    readonly log: Log;
  },
): KafkaTransport {
  const { name, registry, metrics, log } = service;
  return new KafkaTransport({
    connection: kafkaConnection(config, `tidemark-${name}`, log),
    topicPrefix: config.TIDEMARK_KAFKA_TOPIC_PREFIX,
    group: `${config.TIDEMARK_KAFKA_TOPIC_PREFIX}tidemark.${name}`,
    sessionTimeoutMs: config.TIDEMARK_KAFKA_SESSION * 1000,
    macKeys: registryMacKeys(registry),
    admission: { admit: (ids) => admitted(registry, ids) },
    counters: countersOf(metrics),
    onPoison: failPoisoned({ registry, metrics, log }, 'a message lies in the dead-letter topic'),
    onCrash: (topic, error) => die(log.child({ topic }), error),
  });
}

/** What becomes of the backup of a message that can't be handled: it fails with the message's code. */
export function failPoisoned(
  { registry, metrics, log }: { registry: Registry; metrics: Metrics; log: Log },
  words = 'a message cannot be handled',
) {
  return async (topic: string, message: unknown, error: unknown): Promise<void> => {
    const backupId = backupIdOf(message);
    const code = error instanceof TmError ? error.code : 'TM1099';
    log.error({ topic, backup: backupId, err: error }, words);
    if (backupId !== undefined && (await failBackup(registry, backupId, code)))
      metrics.backups.inc({ state: 'failed', code });
  };
}

async function admitted(registry: Registry, ids: readonly string[]) {
  const known = await registry.backups.admissions(ids);
  return new Map(
    [...known].map(
      ([id, { state, epoch, macKey }]) => [id, { state, epoch, macKey: macKey ?? NO_KEY }] as const,
    ),
  );
}

/** Of a backup that has ended: it is late before anybody looks at a MAC. */
const NO_KEY = Buffer.alloc(0);
/** Keys that are remembered: those of the backups under way. */
const KEYS = 1000;

function registryMacKeys({ backups }: Registry): MacKeys {
  const known = new Map<string, Buffer>();
  return {
    async keyOf(backupId) {
      const remembered = known.get(backupId);
      if (remembered) return remembered;
      const key = (await backups.admissions([backupId])).get(backupId)?.macKey;
      if (!key) throw new TmError('TM1507', backupId);
      known.set(backupId, key);
      if (known.size > KEYS) known.delete(known.keys().next().value!);
      return key;
    },
  };
}

function backupIdOf(message: unknown): string | undefined {
  const { header, backupId } = message as { header?: { backupId?: unknown }; backupId?: unknown };
  const id = header?.backupId ?? backupId;
  return typeof id === 'string' ? id : undefined;
}

export function countersOf(metrics: Metrics): TransportCounters {
  return {
    add(counter, topic, by) {
      if (counter === 'bytesIn' || counter === 'bytesOut')
        metrics.messageBytes.inc({ topic, what: counter === 'bytesIn' ? 'in' : 'out' }, by);
      else {
        const what = { messagesIn: 'in', messagesOut: 'out' }[counter as string] ?? counter;
        metrics.messages.inc({ topic, what }, by);
      }
    },
    lag(topic, partition, messages) {
      const labels = { topic, partition: String(partition) };
      if (messages === undefined) metrics.lag.remove(labels);
      else metrics.lag.set(labels, messages);
    },
  };
}
