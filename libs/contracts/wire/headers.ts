import type { Epoch } from '../../model/backup.ts';
import { TmError } from '../../model/errors.ts';
import type { PieceHeader } from '../messages.ts';
import { headers as schema } from './message-schemas.ts';

/** Names of the headers that the MAC covers, in the order in which it covers them. */
export const SIGNED_HEADERS = ['backup', 'source', 'epoch', 'shard', 'batch', 'schema', 'type'] as const;

const SCHEMA_VERSION = 1;

/** Header values as a client of Kafka gives them; one that was sent several times is a list. */
export type WireHeaders = Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;

/** A header's text, undefined when it is missing or there several times. */
export function headerText(headers: WireHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? undefined : value?.toString();
}

/** Without the MAC, which `sign` adds. */
export function encodeHeaders(header: PieceHeader, type: string): Record<string, string> {
  return {
    backup: header.backupId,
    source: String(header.sourceId),
    epoch: `${header.epoch.generation}.${header.epoch.counter}`,
    shard: String(header.shard),
    batch: String(header.batchNo),
    schema: String(header.schema),
    type,
  };
}

function epochOf(text: string): Epoch {
  const [generation, counter] = text.split('.');
  return { generation: Number(generation), counter: Number(counter) };
}

const unsigned = schema.omit({ mac: true });

/** Throws TM1505, or TM1514 for a newer schema version. */
export function decodeHeaders(headers: WireHeaders): { header: PieceHeader; type: string } {
  const texts = Object.fromEntries(SIGNED_HEADERS.map((name) => [name, headerText(headers, name)]));
  const parsed = unsigned.safeParse(texts);
  if (!parsed.success) throw new TmError('TM1505', 'headers', { cause: parsed.error });
  const { backup, source, epoch, shard, batch, schema: version, type } = parsed.data;
  if (Number(version) > SCHEMA_VERSION) throw new TmError('TM1514', `schema ${version}`);
  if (Number(version) !== SCHEMA_VERSION) throw new TmError('TM1505', `schema ${version}`);
  const header: PieceHeader = {
    backupId: backup,
    sourceId: Number(source),
    epoch: epochOf(epoch),
    shard: Number(shard),
    batchNo: Number(batch),
    schema: SCHEMA_VERSION,
  };
  return { header, type };
}
