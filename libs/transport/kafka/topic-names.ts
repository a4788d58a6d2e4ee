import type { Topic } from '../port.ts';

export const DLQ_OF = {
  'change-events': 'change-events.dlq',
  'delta-sets': 'delta-sets.dlq',
} as const satisfies Partial<Record<Topic, string>>;

export type DeadLetterTopic = (typeof DLQ_OF)[keyof typeof DLQ_OF];

/** `commits` has none: what its readers can't take is theirs to report. */
export const dlqOf = (topic: Topic): DeadLetterTopic | undefined =>
  topic === 'commits' ? undefined : DLQ_OF[topic];

/** The topic's name in Kafka; the MAC is over the name without the prefix. */
export const topicName = (prefix: string, topic: Topic | DeadLetterTopic): string => `${prefix}${topic}`;
