import { z } from 'zod';
import { groups, id, u64 } from './entry-schema.ts';

const count = z.int().min(0);

/** change-events, header `type` batch. */
export const changeBatch = z
  .strictObject({
    type: z.literal('batch'),
    count: count.describe('Number of records.'),
    digest: id.describe('BLAKE3 of the records in their binary form (docs/2-formats-blocks.md, Records).'),
    groups,
  })
  .describe('Topic change-events: what an agent says of up to 1,000 entries.');

/** change-events and delta-sets, header `type` seal. */
export const seal = z
  .strictObject({
    type: z.literal('seal'),
    batches: z.array(count).min(1).describe('Batches of each shard.'),
    batchDigest: id.describe("Sum of the batches' digests modulo 2^256, little-endian."),
    stateDigest: id.describe('State digest of the whole tree as the agent sees it.'),
    totals: z.strictObject({
      files: count,
      directories: count,
      others: count,
      bytes: u64,
      newBytes: u64,
      storedBytes: u64,
      problems: count,
    }),
    readFrom: u64.describe('Milliseconds since 1970 when the first entry was read.'),
    readTo: u64.describe('Milliseconds since 1970 when the last entry was read.'),
    rootHint: z.string().describe('What the agent remembers of the root; opaque to everyone else.'),
    gaps: z
      .array(z.string().regex(/^[a-z-]{1,32}$/))
      .max(16)
      .describe(
        'Of a watched source: why changes may have gone unnoticed when the backup was opened, sorted.',
      )
      .optional(),
  })
  .describe('Topics change-events and delta-sets: the statement that all batches of a backup are out.');

/** delta-sets, header `type` segment. */
export const deltaSegment = z
  .strictObject({
    type: z.literal('segment'),
    batchCount: count.describe("The batch's number of records."),
    batchDigest: id.describe("The batch's digest."),
    count: count.describe('Number of records that differ from the base.'),
    digest: id.describe('BLAKE3 of these records in their binary form.'),
    added: id.describe('Sum of the new entry hashes modulo 2^256, little-endian.'),
    removed: id.describe('Sum of the entry hashes that they replace.'),
    counts: z.strictObject({
      added: count,
      changed: count,
      metadata: count,
      deleted: count,
      equal: count,
      kept: count,
    }),
    groups,
  })
  .describe('Topic delta-sets: what is left of one batch, also when nothing differs.');

/** commits. */
export const commit = z
  .strictObject({
    specversion: z.literal('1.0'),
    id: z.string().min(1).describe('The same at every delivery: `<source uid>:<event number>`.'),
    source: z.string().regex(/^tidemark\/sources\/[^/]+$/),
    type: z.enum([
      'backup.committed',
      'backup.failed',
      'backup.expired',
      'baseline.promoted',
      'recovery-point.exceeded',
      'recovery-point.recovered',
    ]),
    time: z.iso.datetime(),
    subject: z.string().min(1),
    datacontenttype: z.literal('application/json'),
    data: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
  })
  .describe('Topic commits: a CloudEvent 1.0.');

const decimal = z.string().regex(/^(0|[1-9]\d{0,14})$/);

/** Headers of what is no CloudEvent. */
export const headers = z
  .object({
    backup: z.string().regex(/^[ -~]{1,64}$/),
    source: decimal,
    epoch: z
      .string()
      .regex(/^(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})$/)
      .describe('Generation and counter.'),
    shard: decimal,
    batch: decimal,
    schema: decimal,
    type: z.string().regex(/^[a-z]{1,32}$/),
    mac: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe('HMAC-SHA-256 in hex (docs/6-messages.md).'),
  })
  .describe('Headers of the messages of change-events and delta-sets.');
