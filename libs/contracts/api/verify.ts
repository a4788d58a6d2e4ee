import { z } from 'zod';
import { BINARY, defineRoute } from '../../http/route.ts';
import { digest, errorCode, jsonPath, uuid, whole } from './wire.ts';

const hex32 = z.string().regex(/^[0-9a-f]{64}$/);
/** Blocks and packs in one question. */
export const MAX_DAMAGED = 4096;

/** One line of a verification's reply (NDJSON). The last one is the summary or the error; without it the reply is cut. */
export const VerifyLine = z.discriminatedUnion('type', [
  /** A pack that is there with its right size. */
  z.object({ type: z.literal('pack'), id: hex32, size: whole }),
  z.object({
    type: z.literal('finding'),
    code: errorCode,
    /** No damage. */
    notice: z.literal(true).optional(),
    /** Of the store. */
    object: z.string().optional(),
    block: hex32.optional(),
    /** Of the backup that is hit. */
    label: z.string().optional(),
    path: jsonPath.optional(),
    message: z.string(),
  }),
  /** Comes now and then, so that silence means that nobody is there. */
  z.object({ type: z.literal('progress'), packs: whole }),
  z.object({ type: z.literal('summary'), packs: whole }),
  z.object({ type: z.literal('error'), code: errorCode, detail: z.string().optional() }),
]);
export type VerifyLine = z.infer<typeof VerifyLine>;

export const verifyRoutes = {
  verify: defineRoute({
    method: 'POST',
    path: '/v1/verify',
    roles: ['reader'],
    summary:
      'Checks registry, journal and store of a domain against each other as far as that needs no key; NDJSON',
    body: z.object({ domain: uuid }),
    reply: BINARY,
    idempotent: true,
  }),
  verifyFiles: defineRoute({
    method: 'POST',
    path: '/v1/verify/files',
    roles: ['reader'],
    summary:
      'Names the files of all backups that need one of these blocks, or a block of these packs; NDJSON',
    body: z.object({
      domain: uuid,
      blocks: z.array(digest).max(MAX_DAMAGED).default([]),
      packs: z.array(digest).max(MAX_DAMAGED).default([]),
    }),
    reply: BINARY,
    idempotent: true,
  }),
};
