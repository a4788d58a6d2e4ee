import type { ChangeMessage, CommitMessage } from '../../contracts/messages.ts';
import { encode, type WireMessage } from '../../contracts/wire/codec.ts';
import { sign } from '../../contracts/wire/mac.ts';
import type { Epoch } from '../../model/backup.ts';
import { blake3 } from '../../model/digests.ts';
import { RecordWriter } from '../../model/records.ts';
import { EPOCH, macKeyOf } from './kafka-rig.suite.ts';

export const BACKUP = 'backup of 1';

export interface Wanted {
  readonly backupId?: string;
  readonly sourceId?: number;
  readonly shard?: number;
  readonly epoch?: Epoch;
}

/** A batch with one record. */
export function batch(batchNo: number, wanted: Wanted = {}): ChangeMessage {
  const { backupId = BACKUP, sourceId = 1, shard = 0, epoch = EPOCH } = wanted;
  const writer = new RecordWriter();
  writer.gone(Buffer.from('dir'), Buffer.from(`file ${batchNo}`));
  const body = writer.finish();
  const header = { backupId, sourceId, epoch, shard, batchNo, schema: 1 as const };
  return { type: 'batch', header, count: 1, body, digest: blake3(body) };
}

export const commitEvent = (eventNo: number): CommitMessage => ({
  specversion: '1.0',
  id: `a6b7:${eventNo}`,
  source: 'tidemark/sources/a6b7',
  type: 'backup.committed',
  time: '2026-11-24T10:00:00.000Z',
  subject: BACKUP,
  datacontenttype: 'application/json',
  data: { backupId: BACKUP, seq: eventNo, eventNo },
});

/** As its agent would send it, with some of it replaced before it is signed. */
export function signed(
  message: ChangeMessage,
  replaced: { headers?: Record<string, string>; value?: Buffer; key?: Buffer } = {},
): WireMessage {
  const wire = encode(message);
  const headers = { ...wire.headers, ...replaced.headers };
  const value = replaced.value ?? wire.value;
  const key = replaced.key ?? macKeyOf(message.header.backupId);
  return { key: wire.key, value, headers: { ...headers, mac: sign('change-events', headers, value, key) } };
}
