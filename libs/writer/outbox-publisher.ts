import { toCommitMessage } from '../cell/outbox.ts';
import type { OutboxTable } from '../registry/port.ts';
import type { Transport } from '../transport/port.ts';

const ROWS = 500;

/**
 * Publishes the events that wait, in event-number order for each source: one event of each source at a time, of all of
 * them at once. At least once: an event whose mark was lost goes out again under the same id. Throws what the topic
 * said of a source's event, when the others are out.
 */
export async function publishPending(
  outbox: Pick<OutboxTable, 'pending' | 'published'>,
  transport: Pick<Transport, 'publish'>,
): Promise<void> {
  for (;;) {
    const rows = await outbox.pending(ROWS);
    if (rows.length === 0) return;
    let queues = [...Map.groupBy(rows, (row) => row.sourceId).values()];
    let failure: unknown;
    while (queues.length > 0) {
      const results = await Promise.allSettled(
        queues.map(async ([row]) => transport.publish('commits', [toCommitMessage(row!)])),
      );
      const out = queues.filter((_, i) => results[i]!.status === 'fulfilled');
      await outbox.published(out.map(([row]) => row!.id));
      failure ??= results.find((one) => one.status === 'rejected')?.reason;
      queues = out.map((queue) => queue.slice(1)).filter((queue) => queue.length > 0);
    }
    if (failure !== undefined) throw failure;
  }
}
