import { blake3 } from '../../model/digests.ts';
import { TmError } from '../../model/errors.ts';
import type {
  ChangeBatch,
  CommitMessage,
  DeltaSegment,
  PieceHeader,
  Seal,
  Topic,
  Topics,
} from '../messages.ts';
import { bodyFromJson, bodyToJson, foundFromJson } from './body-json.ts';
import { base64, fromBase64 } from './entry-json.ts';
import type { GroupJson } from './entry-schema.ts';
import { decodeHeaders, encodeHeaders, type WireHeaders } from './headers.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { changeBatch, commit, deltaSegment, seal } from './message-schemas.ts';

/** A message as it lies on a topic, but for its MAC. */
export interface WireMessage {
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Buffer;
}

const CLOUD_EVENT = { 'content-type': 'application/cloudevents+json; charset=UTF-8' };

function checkedBody(groups: readonly GroupJson[], count: number, digest: string) {
  const made = bodyFromJson(groups);
  if (made.count !== count) throw new TmError('TM1505', `${made.count} records instead of ${count}`);
  const own = blake3(made.body);
  if (base64(own) !== digest) throw new TmError('TM1505', 'the records differ from their digest');
  return { body: made.body, digest: own };
}

function batchToJson({ count, digest, body }: ChangeBatch) {
  return { type: 'batch', count, digest: base64(digest), groups: bodyToJson(body) };
}

function batchFromJson(header: PieceHeader, given: unknown): ChangeBatch {
  const { count, digest, groups } = changeBatch.parse(given);
  return { type: 'batch', header, count, ...checkedBody(groups, count, digest) };
}

function sealToJson({ header: _, ...fields }: Seal) {
  const { totals } = fields;
  return {
    ...fields,
    batchDigest: base64(fields.batchDigest),
    stateDigest: base64(fields.stateDigest),
    totals: {
      ...totals,
      bytes: String(totals.bytes),
      newBytes: String(totals.newBytes),
      storedBytes: String(totals.storedBytes),
    },
    readFrom: String(fields.readFrom),
    readTo: String(fields.readTo),
  };
}

function sealFromJson(header: PieceHeader, given: unknown): Seal {
  const fields = seal.parse(given);
  const { totals } = fields;
  return {
    ...fields,
    header,
    batchDigest: fromBase64(fields.batchDigest),
    stateDigest: fromBase64(fields.stateDigest),
    totals: {
      ...totals,
      bytes: Number(totals.bytes),
      newBytes: Number(totals.newBytes),
      storedBytes: Number(totals.storedBytes),
    },
    readFrom: Number(fields.readFrom),
    readTo: Number(fields.readTo),
  };
}

function segmentToJson(segment: DeltaSegment) {
  const { batchCount, count, counts, body } = segment;
  return {
    type: 'segment',
    batchCount,
    batchDigest: base64(segment.batchDigest),
    count,
    digest: base64(blake3(body)),
    added: base64(segment.added),
    removed: base64(segment.removed),
    counts,
    groups: bodyToJson(body, segment),
  };
}

function segmentFromJson(header: PieceHeader, given: unknown): DeltaSegment {
  const { batchCount, batchDigest, count, digest, added, removed, counts, groups } =
    deltaSegment.parse(given);
  const { body } = checkedBody(groups, count, digest);
  return {
    type: 'segment',
    header,
    batchCount,
    batchDigest: fromBase64(batchDigest),
    count,
    body,
    ...foundFromJson(groups, count),
    added: fromBase64(added),
    removed: fromBase64(removed),
    counts,
  };
}

function toJson(message: ChangeBatch | DeltaSegment | Seal): unknown {
  if (message.type === 'batch') return batchToJson(message);
  return message.type === 'seal' ? sealToJson(message) : segmentToJson(message);
}

/** The uid of the source of a CloudEvent. */
const uidOf = ({ source }: CommitMessage): string => source.slice(source.lastIndexOf('/') + 1);

function jsonValue(json: unknown): Buffer {
  const value = Buffer.from(JSON.stringify(json));
  if (value.length > MAX_MESSAGE_BYTES) throw new TmError('TM1511', `${value.length} bytes`);
  return value;
}

/** Throws TM1511 for what is over the hard limit. */
export function encode(message: Topics[Topic]): WireMessage {
  if (!('header' in message)) return { key: uidOf(message), headers: CLOUD_EVENT, value: jsonValue(message) };
  const { header, type } = message;
  return {
    key: `${header.sourceId}:${header.shard}`,
    headers: encodeHeaders(header, type),
    value: jsonValue(toJson(message)),
  };
}

/** Runs `read`; whatever goes wrong with what came from outside is TM1505. */
function parsing<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof TmError && (cause.code === 'TM1505' || cause.code === 'TM1514')) throw cause;
    throw new TmError('TM1505', cause instanceof Error ? cause.message.slice(0, 500) : undefined, { cause });
  }
}

function pieceOf(topic: Topic, headers: WireHeaders, value: Buffer): Topics[Topic] {
  const { header, type } = decodeHeaders(headers);
  const given: unknown = JSON.parse(value.toString('utf8'));
  if (type === 'seal') {
    if (header.shard !== 0) throw new TmError('TM1505', `a seal on shard ${header.shard}`);
    return sealFromJson(header, given);
  }
  if (topic === 'change-events' && type === 'batch') return batchFromJson(header, given);
  if (topic === 'delta-sets' && type === 'segment') return segmentFromJson(header, given);
  throw new TmError('TM1505', `type ${type} on ${topic}`);
}

/**
 * The very message that was encoded, its body byte by byte; the MAC is for others to check. Throws TM1505 for what is
 * malformed in any way, TM1514 for a newer schema version, nothing else.
 */
export function decode<T extends Topic>(topic: T, headers: WireHeaders, value: Buffer): Topics[T] {
  return parsing(() =>
    topic === 'commits' ? commit.parse(JSON.parse(value.toString('utf8'))) : pieceOf(topic, headers, value),
  ) as Topics[T];
}
