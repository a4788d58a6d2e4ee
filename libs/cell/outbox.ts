import type { CommitMessage } from '../contracts/messages.ts';
import type { OutboxRow } from '../registry/port.ts';

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
