import { z } from 'zod';

/** Bytes: text when they are valid UTF-8. */
const bytesText = z
  .union([z.string(), z.strictObject({ base64: z.base64() })])
  .describe('Bytes: text when they are valid UTF-8, else base64.');
/** 64 bits as a decimal string, since JSON's numbers end at 2^53 for many readers. */
export const u64 = z.string().regex(/^(0|[1-9]\d{0,19})$/);
const i64 = z.string().regex(/^(0|-?[1-9]\d{0,18})$/);
const u32 = z.int().min(0).max(0xffff_ffff);
const u16 = z.int().min(0).max(0xffff);
const u8 = z.int().min(0).max(0xff);
/** 32 bytes: a digest, a hash, a block's id. */
export const id = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/)
  .describe('32 bytes in base64.');

const recipeItem = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('block'), id, length: u64 }),
  z.strictObject({ kind: z.literal('zeros'), length: u64 }),
  z.strictObject({ kind: z.literal('recipe'), id, length: u64, blockLength: u32 }),
]);

const recipe = z.strictObject({
  depth: u8.min(1).optional(),
  items: z.array(recipeItem),
  holes: z.array(z.strictObject({ offset: u64, length: u64 })).optional(),
  holesBlock: z.strictObject({ id, length: u32 }).optional(),
});

const xattr = z.strictObject({
  name: bytesText,
  value: z.base64().optional().describe('The value itself; a longer one is a block.'),
  block: z.strictObject({ id, length: u32 }).optional(),
});

/** What is zero or empty is left out, but for what every entry has. */
const state = z.strictObject({
  type: z.enum(['file', 'directory', 'symlink', 'fifo', 'charDevice', 'blockDevice']),
  flags: u8.optional().describe('1: the file changed while it was read.'),
  mode: u16,
  uid: u32,
  gid: u32,
  user: z.string().optional(),
  group: z.string().optional(),
  mtimeSec: i64,
  mtimeNsec: u32,
  size: u64.optional(),
  linkGroup: u64.optional(),
  rdevMajor: u32.optional(),
  rdevMinor: u32.optional(),
  target: bytesText.optional(),
  xattrs: z.array(xattr).optional(),
  digest: id.optional(),
  recipe: recipe.optional(),
});

const hints = z.strictObject({ ctimeSec: i64, ctimeNsec: u32, nlink: u32, dev: u64, ino: u64 });

/** What the calculator adds to a record. */
const found = {
  hash: id.optional().describe('Delta segments only: the hash of the entry.'),
  asBaseline: z.literal(true).optional().describe('Delta segments only: as in the baseline again.'),
};

const record = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('present'), name: bytesText, state, hints, ...found }),
  z.strictObject({ op: z.literal('gone'), name: bytesText, ...found }),
  z.strictObject({ op: z.literal('kept'), name: bytesText, code: u16, ...found }),
]);

/** Records by directory, in the order in which they were digested. */
export const groups = z.array(z.strictObject({ dir: bytesText, entries: z.array(record).min(1) }));

export type StateJson = z.infer<typeof state>;
export type HintsJson = z.infer<typeof hints>;
export type RecordJson = z.infer<typeof record>;
export type GroupJson = z.infer<typeof groups>[number];
