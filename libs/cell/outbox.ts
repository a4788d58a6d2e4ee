import type { CommitMessage } from '../contracts/messages.ts';
import type { OutboxRow } from '../registry/port.ts';
import type { Cell } from './cell.ts';

/** An outbox row as the CloudEvent that goes out; its id is the same at every try. */
export function toCommitMessage(row: OutboxRow): CommitMessage {
  return {
    specversion: '1.0',
    id: `${row.sourceUid}:${row.eventNo}`,
    source: `tidemark/sources/${row.sourceUid}`,
    type: row.type as CommitMessage['type'],
    time: row.time.toISOString(),
    subject: String(row.data.backupId ?? row.sourceUid),
    datacontenttype: 'application/json',
    data: { ...row.data, eventNo: row.eventNo },
  };
}

/**
 * Publishes what waits, in order. Embedded, there is nobody to tell but the caller: `onEvent`. Where services use the
 * registry too, it is theirs to tell everybody.
 */
export async function publishOutbox(
  cell: Cell,
  onEvent: (event: CommitMessage) => void = () => {},
): Promise<void> {
  for (;;) {
    const rows = await cell.registry.outbox.pending(500);
    if (rows.length === 0 || (await cell.registry.journal.isServed())) return;
    for (const row of rows) onEvent(toCommitMessage(row));
    await cell.registry.outbox.published(rows.map((row) => row.id));
  }
}
