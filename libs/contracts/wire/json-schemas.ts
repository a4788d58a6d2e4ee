import { z } from 'zod';
import { changeBatch, commit, deltaSegment, headers, seal } from './message-schemas.ts';

const SCHEMAS = {
  headers,
  'change-batch': changeBatch,
  'delta-segment': deltaSegment,
  seal,
  commit,
};

/** JSON Schema (draft 2020-12) of each kind of message, by name. */
export function jsonSchemas(): Record<keyof typeof SCHEMAS, unknown> {
  const entries = Object.entries(SCHEMAS).map(([name, schema]) => [
    name,
    z.toJSONSchema(schema, { io: 'input' }),
  ]);
  return Object.fromEntries(entries);
}
