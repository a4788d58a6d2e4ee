import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { TmError } from './errors.ts';

/** Kinds of entries; the numbers are part of the format. */
export const EntryType = {
  file: 1,
  directory: 2,
  symlink: 3,
  fifo: 4,
  charDevice: 5,
  blockDevice: 6,
} as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

/** Flags of a state; part of the format. */
export const EntryFlag = {
  /** The file changed while it was read: its content may mix two moments. */
  inconsistent: 1,
} as const;

/**
 * A piece of a file's data stream (its bytes without the holes), in order.
 * - block: stored content. - zeros: that many zero bytes, allocated but not stored.
 * - recipe: a block that holds further items (`length` bytes of the data stream, `blockLength` bytes of items).
 */
export type RecipeItem =
  | { readonly kind: 'block'; readonly id: Buffer; readonly length: number }
  | { readonly kind: 'zeros'; readonly length: number }
  | { readonly kind: 'recipe'; readonly id: Buffer; readonly length: number; readonly blockLength: number };

/** A hole: bytes `offset` to `offset + length` of the file are not allocated. */
export interface Hole {
  readonly offset: number;
  readonly length: number;
}

/** Holes in ascending order; a long list is a block of its own (`encodeHoles`). */
export type HoleMap =
  | { readonly kind: 'inline'; readonly holes: readonly Hole[] }
  | { readonly kind: 'block'; readonly id: Buffer; readonly blockLength: number };

export interface Recipe {
  /** 0: items are blocks and zeros; n: items are recipe blocks over level n - 1. */
  readonly depth: number;
  readonly items: readonly RecipeItem[];
  readonly holes: HoleMap;
}

/** `value` inline, or the block that holds it. */
export interface Xattr {
  readonly name: Buffer;
  readonly value: Buffer | { readonly id: Buffer; readonly length: number };
}

/** What is digested, compared and restored. */
export interface EntryState {
  readonly type: EntryType;
  readonly flags: number;
  /** Permission bits with setuid, setgid and sticky (07777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Empty when the host has no name for the id. */
  readonly user: string;
  readonly group: string;
  readonly mtimeSec: bigint;
  readonly mtimeNsec: number;
  /** Bytes, holes included; 0 for what is no file. */
  readonly size: number;
  /** Shared by the names of one inode; 0 when it has one name only. Minted by the agent. */
  readonly linkGroup: bigint;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** A symlink's target, else empty. */
  readonly target: Buffer;
  /** Sorted by name. */
  readonly xattrs: readonly Xattr[];
  /** Files only: keyed BLAKE3 of the whole content, holes as zeros; 32 bytes. */
  readonly digest: Buffer | undefined;
  readonly recipe: Recipe | undefined;
}

/** Kept for the next scan; never compared or digested. */
export interface EntryHints {
  readonly ctimeSec: bigint;
  readonly ctimeNsec: number;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: number;
}

const DIGEST_BYTES = 32;
const BLOCK_ID_BYTES = 32;
/** Items a state or recipe tree's root holds inline; more make a tree. */
export const MAX_INLINE_ITEMS = 64;
export const MAX_RECIPE_CHILDREN = 1024;
const MAX_RECIPE_DEPTH = 6;
export const MAX_INLINE_HOLES = 64;
export const MAX_HOLES = 200_000;
export const HINTS_BYTES = 32;
/** A block as an item (kind, length, id), and a hole map that is empty (kind, count). */
const PLAIN_ITEM_BYTES = 9 + BLOCK_ID_BYTES;
const NO_HOLES_BYTES = 5;
const ITEM_KIND = { block: 1, recipe: 2, zeros: 3 } as const;

function encodeItems(items: readonly RecipeItem[], out: ByteWriter): void {
  for (const item of items) {
    out.u8(ITEM_KIND[item.kind]);
    out.u64(item.length);
    if (item.kind === 'recipe') out.u32(item.blockLength);
    if (item.kind !== 'zeros') out.bytes(item.id);
  }
}

function decodeItems(input: ByteReader, count: number): RecipeItem[] {
  const items: RecipeItem[] = [];
  for (let i = 0; i < count; i++) {
    const kind = input.u8();
    const length = input.u64();
    if (kind === ITEM_KIND.block) items.push({ kind: 'block', length, id: input.bytes(BLOCK_ID_BYTES) });
    else if (kind === ITEM_KIND.zeros) items.push({ kind: 'zeros', length });
    else if (kind === ITEM_KIND.recipe) {
      const blockLength = input.u32();
      items.push({ kind: 'recipe', length, blockLength, id: input.bytes(BLOCK_ID_BYTES) });
    } else throw new TmError('TM1605', `recipe item of unknown kind ${kind}`);
  }
  return items;
}

/** The bytes of a recipe block: u32 count, items. */
export function encodeRecipeBlock(items: readonly RecipeItem[]): Buffer {
  const out = new ByteWriter(items.length * 45 + 4);
  out.u32(items.length);
  encodeItems(items, out);
  return out.finish();
}

export function decodeRecipeBlock(bytes: Buffer): RecipeItem[] {
  const input = new ByteReader(bytes);
  const count = input.u32();
  if (count > MAX_RECIPE_CHILDREN) throw new TmError('TM1605', `recipe block of ${count} items`);
  const items = decodeItems(input, count);
  input.end();
  return items;
}

/** The bytes of a hole map: u32 count, then u64 offset and u64 length each. */
export function encodeHoles(holes: readonly Hole[], out = new ByteWriter(holes.length * 16 + 4)): ByteWriter {
  out.u32(holes.length);
  for (const hole of holes) {
    out.u64(hole.offset);
    out.u64(hole.length);
  }
  return out;
}

export function decodeHoles(input: ByteReader): Hole[] {
  const count = input.u32();
  if (count > MAX_HOLES) throw new TmError('TM1605', `hole map of ${count} holes`);
  const holes: Hole[] = [];
  for (let i = 0; i < count; i++) holes.push({ offset: input.u64(), length: input.u64() });
  return holes;
}

function encodeXattrs(xattrs: readonly Xattr[], out: ByteWriter): void {
  out.u16(xattrs.length);
  for (const { name, value } of xattrs) {
    out.u8(name.length);
    out.bytes(name);
    const inline = value instanceof Uint8Array;
    out.u8(inline ? 0 : 1);
    out.u32(value.length);
    out.bytes(inline ? value : value.id);
  }
}

function decodeXattrs(input: ByteReader): Xattr[] {
  const xattrs: Xattr[] = [];
  for (let n = input.u16(); n > 0; n--) {
    const name = input.bytes(input.u8());
    const external = input.u8() === 1;
    const length = input.u32();
    xattrs.push({
      name,
      value: external ? { id: input.bytes(BLOCK_ID_BYTES), length } : input.bytes(length),
    });
  }
  return xattrs;
}

/**
 * Appends the canonical bytes of a state (docs/2-formats-blocks.md, "State of an entry"): little-endian, one encoding per value, since
 * entry hashes are taken over them.
 */
export function encodeState(state: EntryState, out: ByteWriter): void {
  out.u8(state.type);
  out.u8(state.flags);
  out.u16(state.mode);
  out.u32(state.uid);
  out.u32(state.gid);
  out.i64(state.mtimeSec);
  out.u32(state.mtimeNsec);
  out.u64(state.size);
  out.i64(BigInt.asIntN(64, state.linkGroup));
  out.u32(state.rdevMajor);
  out.u32(state.rdevMinor);
  out.text8(state.user);
  out.text8(state.group);
  out.u16(state.target.length);
  out.bytes(state.target);
  encodeXattrs(state.xattrs, out);
  if (state.type !== EntryType.file) return;
  if (!state.digest || !state.recipe) throw new TmError('TM1605', 'file without digest or recipe');
  out.bytes(state.digest);
  out.u8(state.recipe.depth);
  out.u32(state.recipe.items.length);
  encodeItems(state.recipe.items, out);
  out.u8(state.recipe.holes.kind === 'inline' ? 0 : 1);
  if (state.recipe.holes.kind === 'inline') encodeHoles(state.recipe.holes.holes, out);
  else {
    out.u32(state.recipe.holes.blockLength);
    out.bytes(state.recipe.holes.id);
  }
}

function decodeRecipe(input: ByteReader): Recipe {
  const depth = input.u8();
  const count = input.u32();
  if (depth > MAX_RECIPE_DEPTH || count > MAX_INLINE_ITEMS)
    throw new TmError('TM1605', 'recipe over its limits');
  const items = decodeItems(input, count);
  const holes: HoleMap =
    input.u8() === 0
      ? { kind: 'inline', holes: decodeHoles(input) }
      : { kind: 'block', blockLength: input.u32(), id: input.bytes(BLOCK_ID_BYTES) };
  return { depth, items, holes };
}

export function decodeState(bytes: Buffer): EntryState {
  const input = new ByteReader(bytes);
  const type = input.u8() as EntryType;
  if (type < EntryType.file || type > EntryType.blockDevice)
    throw new TmError('TM1605', `entry type ${type}`);
  const state = {
    type,
    flags: input.u8(),
    mode: input.u16(),
    uid: input.u32(),
    gid: input.u32(),
    mtimeSec: input.i64(),
    mtimeNsec: input.u32(),
    size: input.u64(),
    linkGroup: BigInt.asUintN(64, input.i64()),
    rdevMajor: input.u32(),
    rdevMinor: input.u32(),
    user: input.text8(),
    group: input.text8(),
    target: input.bytes(input.u16()),
    xattrs: decodeXattrs(input),
    digest: type === EntryType.file ? input.bytes(DIGEST_BYTES) : undefined,
    recipe: type === EntryType.file ? decodeRecipe(input) : undefined,
  };
  input.end();
  return state;
}

/** What every state begins with: enough to find an entry and to give it its attributes but for the extended ones. */
export type EntryHead = Pick<
  EntryState,
  'type' | 'mode' | 'uid' | 'gid' | 'mtimeSec' | 'mtimeNsec' | 'size' | 'linkGroup'
>;

/** Of encoded state bytes, without decoding the rest. */
export function decodeHead(bytes: Buffer): EntryHead {
  const input = new ByteReader(bytes);
  const type = input.u8() as EntryType;
  input.skip(1);
  return {
    type,
    mode: input.u16(),
    uid: input.u32(),
    gid: input.u32(),
    mtimeSec: input.i64(),
    mtimeNsec: input.u32(),
    size: input.u64(),
    linkGroup: BigInt.asUintN(64, input.i64()),
  };
}

/**
 * Where the id of each block lies in a file's encoded state, and the block's length: id, length, id, length … Undefined
 * where the file is more than blocks one behind the other (holes, zeros, recipe blocks, extended attributes), and where
 * the bytes are not what they should be.
 */
export function plainBlocks(state: Buffer): number[] | undefined {
  if (state[0] !== EntryType.file) return undefined;
  const input = new ByteReader(state);
  skipToXattrs(input);
  if (input.u16() !== 0) return undefined;
  input.skip(DIGEST_BYTES);
  if (input.u8() !== 0) return undefined;
  const count = input.u32();
  if (count > MAX_INLINE_ITEMS || input.remaining !== count * PLAIN_ITEM_BYTES + NO_HOLES_BYTES)
    return undefined;
  const blocks: number[] = [];
  for (let i = 0; i < count; i++) {
    if (input.u8() !== ITEM_KIND.block) return undefined;
    const length = input.u64();
    blocks.push(input.skip(BLOCK_ID_BYTES), length);
  }
  return input.u8() === 0 && input.u32() === 0 ? blocks : undefined;
}

/** A file's content digest in its state's bytes, without decoding the rest; undefined for other types. */
export function digestOf(state: Buffer): Buffer | undefined {
  const at = digestAt(new ByteReader(state));
  return at === undefined ? undefined : state.subarray(at, at + DIGEST_BYTES);
}

/** Where in the reader's buffer the content digest of a state stands, whose bytes are the reader's range. */
export function digestAt(input: ByteReader): number | undefined {
  if (input.buffer[input.offset] !== EntryType.file) return undefined;
  skipToXattrs(input);
  for (let n = input.u16(); n > 0; n--) skipXattr(input);
  return input.skip(DIGEST_BYTES);
}

export function encodeHints(hints: EntryHints, out: ByteWriter): void {
  out.i64(hints.ctimeSec);
  out.u32(hints.ctimeNsec);
  out.u32(hints.nlink);
  out.i64(BigInt.asIntN(64, hints.dev));
  out.i64(BigInt.asIntN(64, hints.ino));
}

export function decodeHints(bytes: Buffer): EntryHints {
  const input = new ByteReader(bytes);
  const ctimeSec = input.i64();
  const ctimeNsec = input.u32();
  const nlink = input.u32();
  return {
    ctimeSec,
    ctimeNsec,
    nlink,
    dev: BigInt.asUintN(64, input.i64()),
    ino: BigInt.asUintN(64, input.i64()),
  };
}

/** Behind what every type has before the extended attributes. */
function skipToXattrs(input: ByteReader): void {
  input.skip(48);
  input.skip(input.u8());
  input.skip(input.u8());
  input.skip(input.u16());
}

/** Where the id of the block is that holds the value; undefined where that is inline. */
function skipXattr(input: ByteReader): number | undefined {
  input.skip(input.u8());
  const external = input.u8() === 1;
  const length = input.u32();
  const at = input.skip(external ? BLOCK_ID_BYTES : length);
  return external ? at : undefined;
}

/** Appends the ids of the blocks that a state names itself, whose bytes are the reader's range, without decoding the rest. */
export function copyBlockIds(input: ByteReader, out: ByteWriter): void {
  const isFile = input.buffer[input.offset] === EntryType.file;
  const copyId = (at: number) => out.copy(input.buffer, at, at + BLOCK_ID_BYTES);
  skipToXattrs(input);
  for (let n = input.u16(); n > 0; n--) {
    const at = skipXattr(input);
    if (at !== undefined) copyId(at);
  }
  if (isFile) copyRecipeIds(input, copyId);
  input.end();
}

function copyRecipeIds(input: ByteReader, copyId: (at: number) => void): void {
  input.skip(DIGEST_BYTES + 1);
  for (let n = input.u32(); n > 0; n--) {
    const kind = input.u8();
    input.skip(kind === ITEM_KIND.recipe ? 12 : 8);
    if (kind !== ITEM_KIND.zeros) copyId(input.skip(BLOCK_ID_BYTES));
  }
  if (input.u8() === 0) input.skip(input.u32() * 16);
  else {
    input.skip(4);
    copyId(input.skip(BLOCK_ID_BYTES));
  }
}

/** Ids of the blocks that a state names itself (not those that its recipe blocks name in turn). */
export function blockIdsOf(state: EntryState): Buffer[] {
  const ids: Buffer[] = [];
  for (const { value } of state.xattrs) if (!(value instanceof Uint8Array)) ids.push(value.id);
  if (!state.recipe) return ids;
  for (const item of state.recipe.items) if (item.kind !== 'zeros') ids.push(item.id);
  if (state.recipe.holes.kind === 'block') ids.push(state.recipe.holes.id);
  return ids;
}
