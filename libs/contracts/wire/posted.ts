import { z } from 'zod';
import { TmError } from '../../model/errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';

/** A message on its way to a topic over HTTP: u32 little-endian length of the headers' JSON, that, and the value. */
export interface PostedMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Buffer;
}

const MAX_HEADERS_BYTES = 4096;
/** Bytes of the largest posted message. */
export const MAX_POSTED_BYTES = 4 + MAX_HEADERS_BYTES + MAX_MESSAGE_BYTES;

const headersForm = z.record(z.string().max(64), z.string().max(1024));

/** In pieces, so that the value is not copied. */
export function encodePosted({ headers, value }: PostedMessage): Buffer[] {
  const json = Buffer.from(JSON.stringify(headers));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return [length, json, value];
}

/** Throws TM1505 where it has another form, TM1511 where the value is too large. */
export function decodePosted(bytes: Buffer): PostedMessage {
  const length = bytes.length < 4 ? Number.POSITIVE_INFINITY : bytes.readUInt32LE(0);
  if (length > MAX_HEADERS_BYTES || 4 + length > bytes.length) throw new TmError('TM1505', 'headers are cut');
  const value = bytes.subarray(4 + length);
  if (value.length > MAX_MESSAGE_BYTES) throw new TmError('TM1511', `${value.length} bytes`);
  const parsed = headersForm.safeParse(jsonOf(bytes.toString('utf8', 4, 4 + length)));
  if (!parsed.success) throw new TmError('TM1505', 'headers');
  return { headers: parsed.data, value };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
