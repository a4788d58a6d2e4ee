import { EntryType } from '../../model/entry.ts';
import type { RecordJson } from './entry-schema.ts';

/** Bytes of JSON with every field of a form, nanoseconds and what is rare as long as it may be, all else empty or zero. */
const sizeOf = (json: unknown): number => JSON.stringify(json).length + 1;
const ID = 'A'.repeat(44);
const MAX_32 = 0xffff_ffff;
const MAX_64 = '9'.repeat(20);

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
    mtimeNsec: 999_999_999,
    size: '0',
  },
  hints: { ctimeSec: '0', ctimeNsec: 999_999_999, nlink: 0, dev: '0', ino: '0' },
  ...FOUND,
} satisfies RecordJson);
const LINK_GROUP = sizeOf({ linkGroup: MAX_64 });
const DEVICE = sizeOf({ rdevMajor: MAX_32, rdevMinor: MAX_32 });
const TARGET = sizeOf({ target: '' });
const XATTRS = sizeOf({ xattrs: [] });
const XATTR = sizeOf({ name: '', block: { id: ID, length: MAX_32 } });
const FILE = sizeOf({ digest: ID, recipe: { depth: 255, items: [] } });
/** By kind: bytes of JSON, and in binary form. */
const ITEMS: Readonly<Record<number, readonly [size: number, bytes: number]>> = {
  1: [sizeOf({ kind: 'block', id: ID, length: '0' }), 41],
  2: [sizeOf({ kind: 'recipe', id: ID, length: '0', blockLength: MAX_32 }), 45],
  3: [sizeOf({ kind: 'zeros', length: '0' }), 9],
};
const HOLES = sizeOf({ holes: [] });
const HOLE = sizeOf({ offset: MAX_64, length: MAX_64 });
const HOLES_BLOCK = sizeOf({ holesBlock: { id: ID, length: MAX_32 } });
const GROUP = sizeOf({ dir: '', entries: [] });
const BASE64 = sizeOf({ base64: '' });

const base64Size = (bytes: number): number => Math.ceil(bytes / 3) * 4;

/** Digits but the first one, at most: of 32 bits, and of 64, which have a sign sometimes. */
const moreDigits = (bytes: Buffer, at: number): number => (bytes.readUInt32LE(at) < 10_000 ? 3 : 9);
const moreDigits64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at + 4) === 0 ? moreDigits(bytes, at) : 19;

/** Of bytes that are text mostly; what they might have to be escaped is counted with the longest escape. */
function textSize(bytes: Buffer, start = 0, end = bytes.length): number {
  let size = 0;
  let seen = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    size += byte < 0x20 || byte === 0x22 || byte === 0x5c ? 6 : 1;
    seen |= byte;
  }
  return seen < 0x80 ? size : Math.max(size, base64Size(end - start) + BASE64);
}

/** Of the attributes from `at` on; `end`: where they end. */
function xattrsSize(state: Buffer, at: number): { size: number; end: number } {
  let size = XATTRS;
  let end = at + 2;
  for (let n = state.readUInt16LE(at); n > 0; n--) {
    const nameEnd = end + 1 + state[end]!;
    const isBlock = state[nameEnd] === 1;
    const length = state.readUInt32LE(nameEnd + 1);
    size += XATTR + textSize(state, end + 1, nameEnd) + (isBlock ? 0 : base64Size(length));
    end = nameEnd + 5 + (isBlock ? 32 : length);
  }
  return { size, end };
}

/** Of the content digest at `start` and what follows. */
function contentSize(state: Buffer, start: number): number {
  let size = FILE;
  let at = start + 37;
  for (let n = state.readUInt32LE(start + 33); n > 0; n--) {
    const [json, bytes] = ITEMS[state[at]!]!;
    size += json + moreDigits64(state, at + 1);
    at += bytes;
  }
  if (state[at] !== 0) return size + HOLES_BLOCK;
  const holes = state.readUInt32LE(at + 1);
  return holes > 0 ? size + HOLES + holes * HOLE : size;
}

/** Besides what PRESENT counts; where a state has what is in docs/2-formats-blocks.md, "State of an entry". */
function stateSize(state: Buffer): number {
  let size = moreDigits(state, 4) + moreDigits(state, 8) + moreDigits64(state, 12) + moreDigits64(state, 24);
  if (state.readUInt32LE(32) !== 0 || state.readUInt32LE(36) !== 0) size += LINK_GROUP;
  if (state.readUInt32LE(40) !== 0 || state.readUInt32LE(44) !== 0) size += DEVICE;
  const userEnd = 49 + state[48]!;
  const groupEnd = userEnd + 1 + state[userEnd]!;
  size += textSize(state, 49, userEnd) + textSize(state, userEnd + 1, groupEnd);
  let at = groupEnd + 2 + state.readUInt16LE(groupEnd);
  if (at > groupEnd + 2) size += TARGET + textSize(state, groupEnd + 2, at);
  if (state.readUInt16LE(at) === 0) at += 2;
  else {
    const xattrs = xattrsSize(state, at);
    size += xattrs.size;
    at = xattrs.end;
  }
  return state[0] === EntryType.file ? size + contentSize(state, at) : size;
}

const hintsSize = (hints: Buffer): number =>
  moreDigits64(hints, 0) + moreDigits(hints, 12) + moreDigits64(hints, 16) + moreDigits64(hints, 24);

/** What a present record makes of a message at most, in a delta segment too. */
export const presentSize = (name: Buffer, state: Buffer, hints: Buffer): number =>
  PRESENT + textSize(name) + stateSize(state) + hintsSize(hints);

/** What a record makes that is gone or kept. */
export const absentSize = (name: Buffer): number => SHORT + textSize(name);

/** What a group of records makes, without them. */
export const groupSize = (dir: Buffer): number => GROUP + textSize(dir);
