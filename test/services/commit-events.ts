import { KafkaRig } from '../../libs/transport/kafka/kafka-rig.suite.ts';
import { type RegistryView, until } from './registry-view.ts';
import type { Stack } from './stack.ts';

export interface CommitEvent {
  readonly id: string;
  readonly type: string;
  /** Names the source by its uid. */
  readonly source: string;
  readonly data: { readonly backupId: string; readonly eventNo: number };
}

/** All of the topic from its beginning, each partition in order, as anybody's consumer sees it; when nothing more is to come. */
export async function commitEvents(stack: Stack, registry: RegistryView): Promise<CommitEvent[]> {
  await until(async () => {
    const [left] = await registry.rows<{ count: number }>(
      'select count(*)::int as count from outbox where not published',
    );
    return left!.count === 0;
  });
  const rig = new KafkaRig({ cluster: stack.kafka });
  const records = await rig.read('commits', await rig.count('commits'));
  return records.map(({ value }) => JSON.parse(value.toString()) as CommitEvent);
}

/** Each once, as consumers do it: by id. Throws where the same id says two things. */
export function distinct(events: readonly CommitEvent[]): CommitEvent[] {
  const byId = new Map<string, CommitEvent>();
  for (const event of events) {
    const before = byId.get(event.id);
    if (before && JSON.stringify(before) !== JSON.stringify(event))
      throw new Error(`two events are ${event.id}: ${JSON.stringify([before, event])}`);
    if (!before) byId.set(event.id, event);
  }
  return [...byId.values()];
}
