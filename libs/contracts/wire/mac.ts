import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Topic } from '../messages.ts';
import { headerText, SIGNED_HEADERS, type WireHeaders } from './headers.ts';

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return length;
}

/**
 * HMAC-SHA-256 over topic, SIGNED_HEADERS and value, before each its length as u32 little-endian (docs/6-messages.md).
 * This holds for all schema versions: a message of a newer one can be told from a forged one.
 */
function macOf(topic: Topic, headers: WireHeaders, value: Buffer, key: Buffer): Buffer {
  const mac = createHmac('sha256', key);
  const texts = [topic, ...SIGNED_HEADERS.map((name) => headerText(headers, name) ?? '')];
  for (const part of [...texts.map((text) => Buffer.from(text)), value])
    mac.update(lengthOf(part)).update(part);
  return mac.digest();
}

/** The `mac` header of a message, in hex. */
export function sign(topic: Topic, headers: WireHeaders, value: Buffer, key: Buffer): string {
  return macOf(topic, headers, value, key).toString('hex');
}

/** Takes the same time for every MAC that is wrong. */
export function isAuthentic(topic: Topic, headers: WireHeaders, value: Buffer, key: Buffer): boolean {
  const given = Buffer.from(headerText(headers, 'mac') ?? '', 'hex');
  const right = macOf(topic, headers, value, key);
  return given.length === right.length && timingSafeEqual(given, right);
}
