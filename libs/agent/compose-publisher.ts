import { TmError } from '../model/errors.ts';
import type { KafkaConnection } from '../transport/kafka/connection.ts';
import type { TransportCounters } from '../transport/kafka/counters.ts';
import { KafkaTransport } from '../transport/kafka/transport.ts';
import type { MakePublisher } from './session.ts';

/** Change events straight to Kafka: one connection for all backups of the process, made anew after it broke. */
export interface AgentKafka {
  readonly publisher: MakePublisher;
  /** Kafka answers and has the topic; TM1515 or TM1516 soon otherwise. */
  check(): Promise<void>;
  close(): Promise<void>;
}

export function agentKafka(
  connection: KafkaConnection,
  topicPrefix: string,
  counters: TransportCounters,
): AgentKafka {
  /** MAC keys of the backups under way. */
  const keys = new Map<string, Buffer>();
  const transport = new KafkaTransport({
    connection,
    topicPrefix,
    counters,
    macKeys: { keyOf: async (backupId) => keyOf(keys, backupId) },
    // It consumes nothing.
    group: '',
    admission: { admit: async () => new Map() },
    onPoison: async () => {},
    onCrash: () => {},
  });
  return {
    async publisher({ backup, macKey }) {
      keys.set(backup.id, Buffer.from(macKey, 'base64'));
      return {
        publish: (topic, messages) => transport.publish(topic, messages),
        close: async () => void keys.delete(backup.id),
      };
    },
    check: () => transport.check(['change-events']),
    close: () => transport.close(),
  };
}

function keyOf(keys: ReadonlyMap<string, Buffer>, backupId: string): Buffer {
  const key = keys.get(backupId);
  if (!key) throw new TmError('TM1507', backupId);
  return key;
}
