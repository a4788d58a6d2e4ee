import type { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { canonicalJson } from './canonical-json.ts';

/** A small stored object: canonical JSON and a newline. */
export function encodeStoredJson(value: unknown): Buffer {
  return Buffer.from(`${canonicalJson(value)}\n`);
}

/** Throws TM1206 naming `object` where the bytes are no JSON; what the JSON says is not looked at. */
export function parseStoredJson(object: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TmError('TM1206', `${object} is no JSON`, { cause });
  }
}

/** Throws TM1206 naming `object` and the fields that don't fit. */
export function checkStored<T>(object: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new TmError('TM1206', `${object}: ${fieldProblems(result.error)}`);
}

export function fieldProblems(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join('.') || 'the whole'}: ${issue.message}`)
    .join('; ');
}
