import { z } from 'zod';

/** Pieces of requests and replies that several routes share; docs/decisions/010-services.md, "HTTP". */

/** Bytes that have no text: keys, digests, wrapped keys. */
export const base64 = z.base64();
export const digest = base64.length(44);
export const uuid = z.uuid();
export const moment = z.iso.datetime();
export const whole = z.number().int().nonnegative();
/** A 64-bit value. */
export const decimal = z.string().regex(/^-?\d{1,20}$/);

/** A name or path with slashes ('.' for the root): text when it is valid UTF-8. As `pathToJson` and `bytesToJson` write it. */
export const jsonPath = z.union([z.string(), z.object({ base64 })]);

/** Bytes of what `jsonPath` and the like hold. */
export const bytesOfJson = (value: z.infer<typeof jsonPath>): Buffer =>
  typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.base64, 'base64');

/** In queries, where there are only strings: a path as base64url of its bytes. */
export const queryPath = z
  .string()
  .max(8192)
  .regex(/^[\w-]*$/);
export const pathToQuery = (bytes: Buffer): string => bytes.toString('base64url');
export const pathFromQuery = (text: string): Buffer => Buffer.from(text, 'base64url');

/** `after`: `next` of the page before, opaque. */
export const paging = {
  after: z
    .string()
    .max(16_384)
    .regex(/^[\w-]+$/)
    .optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(200),
};
/** The `after` of the next page; null on the last one. A page may hold less than `limit`, even nothing, and not be the last. */
export const next = z.string().nullable();

/** Seconds that the server may wait for something to happen. */
export const wait = z.coerce.number().min(0).max(55).default(0);

export const tags = z.record(z.string().min(1).max(256), z.string().max(4096));
export const kind = z.enum(['full', 'differential']);
export const errorCode = z.string().regex(/^TM\d{4}$/);
export const epoch = z.object({ generation: whole, counter: whole });
