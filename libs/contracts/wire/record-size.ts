import { ByteReader } from '../../model/byte-reader.ts';
import { EntryType } from '../../model/entry.ts';
import type { RecordJson } from './entry-schema.ts';

/** Bytes of JSON with every field of a form, empty or zero; numbers count their digits but one on top of it. */
const sizeOf = (json: unknown): number => JSON.stringify(json).length + 1;
const ID = 'A'.repeat(44);

const FOUND = { hash: ID, asBaseline: true as const };
const SHORT = sizeOf({ op: 'kept', name: '', code: 65535, ...FOUND } satisfies RecordJson);
const PRESENT = sizeOf({
  op: 'present',
  name: '',
  state: {
    type: 'blockDevice',
    flags: 255,
    mode: 65535,
    uid: 0,
    gid: 0,
    user: '',
    group: '',
    mtimeSec: '0',
    mtimeNsec: 0,
    size: '0',
  },
  hints: { ctimeSec: '0', ctimeNsec: 0, nlink: 0, dev: '0', ino: '0' },
  ...FOUND,
} satisfies RecordJson);
const LINK_GROUP = sizeOf({ linkGroup: '9'.repeat(20) });
const DEVICE = sizeOf({ rdevMajor: 0xffff_ffff, rdevMinor: 0xffff_ffff });
const TARGET = sizeOf({ target: '' });
const XATTRS = sizeOf({ xattrs: [] });
const XATTR = sizeOf({ name: '', block: { id: ID, length: 0xffff_ffff } });
const FILE = sizeOf({ digest: ID, recipe: { depth: 255, items: [] } });
const ITEMS: Readonly<Record<number, number>> = {
  1: sizeOf({ kind: 'block', id: ID, length: '0' }),
  2: sizeOf({ kind: 'recipe', id: ID, length: '0', blockLength: 0xffff_ffff }),
  3: sizeOf({ kind: 'zeros', length: '0' }),
};
const HOLES = sizeOf({ holes: [] });
const HOLE = sizeOf({ offset: '9'.repeat(20), length: '9'.repeat(20) });
const HOLES_BLOCK = sizeOf({ holesBlock: { id: ID, length: 0xffff_ffff } });
const GROUP = sizeOf({ dir: '', entries: [] });
const BASE64 = sizeOf({ base64: '' });

const base64Size = (bytes: number): number => Math.ceil(bytes / 3) * 4;

/** Digits but the first one. */
function moreDigits(value: number): number {
  let digits = 0;
  for (let power = 10; value >= power; power *= 10) digits++;
  return digits;
}

const digits32 = (bytes: Buffer, at: number): number => moreDigits(bytes.readUInt32LE(at));
/** Of 64 bits; all that there may be when more than 32 are used. */
const digits64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at + 4) === 0 ? digits32(bytes, at) : 19;

/** Of bytes that are text mostly; what they might have to be escaped is counted with the longest escape. */
function textSize(bytes: Buffer): number {
  let size = 0;
  let seen = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    size += byte < 0x20 || byte === 0x22 || byte === 0x5c ? 6 : 1;
    seen |= byte;
  }
  return seen < 0x80 ? size : Math.max(size, base64Size(bytes.length) + BASE64);
}

function xattrsSize(input: ByteReader): number {
  const count = input.u16();
  let size = count > 0 ? XATTRS : 0;
  for (let n = count; n > 0; n--) {
    size += XATTR + textSize(input.bytes(input.u8()));
    const isBlock = input.u8() === 1;
    const length = input.u32();
    if (!isBlock) size += base64Size(length);
    input.skip(isBlock ? 32 : length);
  }
  return size;
}

function itemsSize(input: ByteReader, count: number): number {
  let size = 0;
  for (let n = count; n > 0; n--) {
    const kind = input.u8();
    size += (ITEMS[kind] ?? 0) + digits64(input.buffer, input.skip(8));
    input.skip((kind === 2 ? 4 : 0) + (kind === 3 ? 0 : 32));
  }
  return size;
}

function recipeSize(input: ByteReader): number {
  input.skip(33);
  const items = itemsSize(input, input.u32());
  if (input.u8() !== 0) return FILE + items + HOLES_BLOCK;
  const holes = input.u32();
  return FILE + items + (holes > 0 ? HOLES + holes * HOLE : 0);
}

function stateSize(state: Buffer): number {
  const input = new ByteReader(state, 48);
  const type = state[0];
  let size = digits32(state, 4) + digits32(state, 8) + digits64(state, 12) + digits32(state, 20);
  size += digits64(state, 24);
  if (state.readUInt32LE(32) !== 0 || state.readUInt32LE(36) !== 0) size += LINK_GROUP;
  if (state.readUInt32LE(40) !== 0 || state.readUInt32LE(44) !== 0) size += DEVICE;
  size += textSize(input.bytes(input.u8())) + textSize(input.bytes(input.u8()));
  const target = input.u16();
  if (target > 0) size += TARGET + textSize(input.bytes(target));
  size += xattrsSize(input);
  return type === EntryType.file ? size + recipeSize(input) : size;
}

const hintsSize = (hints: Buffer): number =>
  digits64(hints, 0) + digits32(hints, 8) + digits32(hints, 12) + digits64(hints, 16) + digits64(hints, 24);

/** What a present record makes of a message at most, in a delta segment too: little above its real size. */
export const presentSize = (name: Buffer, state: Buffer, hints: Buffer): number =>
  PRESENT + textSize(name) + stateSize(state) + hintsSize(hints);

/** What a record makes that is gone or kept. */
export const absentSize = (name: Buffer): number => SHORT + textSize(name);

/** What a group of records makes, without them. */
export const groupSize = (dir: Buffer): number => GROUP + textSize(dir);
