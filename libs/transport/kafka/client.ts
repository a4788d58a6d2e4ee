import kafkajs, { type Kafka, type KafkaConfig, type RetryOptions } from 'kafkajs';
import type { KafkaConnection } from './connection.ts';
import { calmRequestQueues } from './request-queue.ts';
import { registerZstd } from './zstd.ts';

calmRequestQueues();
registerZstd();

/**
 * Short, for kafkajs nests its retries: with many of them it knocks at a dead broker for a minute before it asks the
 * others who took over. What has to be tried for longer is so by us, and consumers start again by themselves.
 * To be given to each consumer too, since they do not take over what the client has.
 */
export const RETRY: RetryOptions = { retries: 3, initialRetryTime: 100, maxRetryTime: 1000 };

export function connectKafka(connection: KafkaConnection): Kafka {
  const { brokers, clientId, tls, sasl, connectTimeoutMs = 5000, log } = connection;
  const config: KafkaConfig = {
    brokers: [...brokers],
    clientId,
    connectionTimeout: connectTimeoutMs,
    authenticationTimeout: 10_000,
    requestTimeout: 30_000,
    enforceRequestTimeout: true,
    retry: RETRY,
    logLevel: log ? kafkajs.logLevel.WARN : kafkajs.logLevel.NOTHING,
    logCreator:
      () =>
      ({ log: { message, timestamp: _, ...details } }) =>
        log?.('warn', message, details), // what matters of its errors, it throws
  };
  if (tls) config.ssl = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  if (sasl) config.sasl = sasl as NonNullable<KafkaConfig['sasl']>;
  return new kafkajs.Kafka(config);
}
