import { z } from 'zod';
import { BINARY, defineRoute } from '../../http/route.ts';
import { MAX_STREAM_BYTES } from '../frame-stream.ts';

/** Ids (32 bytes each) in one question. */
export const MAX_IDS = 4096;
/** Bytes of a pack that one request gives. */
export const MAX_RANGE_BYTES = 16 * 1024 * 1024;
/** Bytes of a wrapped data key; one that age writes has about 250. */
const MAX_WRAPPED_KEY_BYTES = 4096;
const ID_BYTES = 32;

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
const byBackup = z.object({ id: z.uuid() });
const whole = z.coerce
  .number<number | string>()
  .int()
  .nonnegative()
  .max(2 ** 53 - 1);

/** The storage writer's routes. All of them are about one backup, whose domain bounds what can be seen. */
export const writerRoutes = {
  missing: defineRoute({
    method: 'POST',
    path: '/v1/backups/:id/missing',
    roles: ['agent'],
    summary: 'n block ids of 32 bytes in, n bytes out: 1 where the block has to be put',
    params: byBackup,
    body: BINARY,
    reply: BINARY,
    maxBody: MAX_IDS * ID_BYTES,
    idempotent: true,
  }),
  putKey: defineRoute({
    method: 'PUT',
    path: '/v1/backups/:id/keys/:keyId',
    roles: ['agent'],
    summary: 'A data key, wrapped to the domain; durable when answered, and needed before any frame under it',
    params: byBackup.extend({ keyId: hex(16) }),
    body: BINARY,
    maxBody: MAX_WRAPPED_KEY_BYTES,
  }),
  putFrames: defineRoute({
    method: 'POST',
    path: '/v1/backups/:id/frames',
    roles: ['agent'],
    summary:
      'A frame stream that becomes one pack; all of it is durable when answered, nothing of it stored otherwise',
    params: byBackup,
    body: BINARY,
    reply: z.object({ pack: hex(32), size: z.int().positive() }),
    maxBody: MAX_STREAM_BYTES,
    idempotent: true,
  }),
  locate: defineRoute({
    method: 'POST',
    path: '/v1/backups/:id/locate',
    roles: ['reader', 'agent'],
    summary:
      'n block ids of 32 bytes in, n places of 48 bytes out: pack id, u32 frame offset, frame length (0: unknown), offset, length',
    params: byBackup,
    body: BINARY,
    reply: BINARY,
    maxBody: MAX_IDS * ID_BYTES,
    idempotent: true,
  }),
  readPack: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/packs/:pack',
    roles: ['reader', 'agent'],
    summary: 'A range of the bytes of a pack',
    params: byBackup.extend({ pack: hex(32) }),
    query: z.object({ offset: whole, length: whole.min(1).max(MAX_RANGE_BYTES) }),
    reply: BINARY,
  }),
  content: defineRoute({
    method: 'GET',
    path: '/v1/backups/:id/content',
    roles: ['reader', 'agent'],
    summary: 'The frames that hold a file, as a frame stream; path: base64url of its bytes with slashes',
    params: byBackup,
    query: z.object({
      path: z
        .string()
        .max(8192)
        .regex(/^[\w-]*$/),
    }),
    reply: BINARY,
  }),
};
