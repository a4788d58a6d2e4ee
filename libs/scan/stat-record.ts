import { type EntryState, EntryType } from '../model/entry.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  STATX_OFFSETS,
  type Stat,
} from '../posix/index.ts';

/**
 * A stat record is what a scan keeps and compares of a struct statx: two slices of it, byte by byte, in native
 * order: nlink, uid, gid, mode with type, ino, size (32 bytes); ctime, mtime, rdev, dev (48 bytes).
 */
export const STAT_BYTES = 80;
export const STAT_WORDS = STAT_BYTES / 4;

/** What of a struct statx is worth handing on: all up to the mount id. */
export const RAW_STAT_BYTES = STATX_OFFSETS.mountId + 8;

/** 32-bit words within a record. */
const WORD = {
  nlink: 0,
  uid: 1,
  gid: 2,
  mode: 3,
  ino: 4,
  size: 6,
  ctime: 8,
  mtime: 12,
  rdev: 16,
  dev: 18,
} as const;
const FIRST_SLICE = STATX_OFFSETS.nlink / 4;
const SECOND_SLICE = STATX_OFFSETS.ctimeSec / 4;
const FIRST_WORDS = WORD.ctime;
const TWO_32 = 2 ** 32;

const TYPES: Readonly<Record<number, EntryType>> = {
  [S_IFREG]: EntryType.file,
  [S_IFDIR]: EntryType.directory,
  [S_IFLNK]: EntryType.symlink,
  [S_IFIFO]: EntryType.fifo,
  [S_IFCHR]: EntryType.charDevice,
  [S_IFBLK]: EntryType.blockDevice,
};

/** One bit for each of these, by its four bits of the mode. */
const TYPE_BITS = Object.keys(TYPES).reduce((bits, type) => bits | (1 << (Number(type) >> 12)), 0);

/** The statx's memory as words, a view. */
export const wordsOf = (stat: Stat): Int32Array =>
  new Int32Array(stat.buffer.buffer, stat.buffer.byteOffset, stat.buffer.length / 4);

/** Makes the record of a statx (`wordsOf`) at word `at` of `out`. */
export function copyStat(statx: Int32Array, out: Int32Array, at: number): void {
  for (let i = 0; i < FIRST_WORDS; i++) out[at + i] = statx[FIRST_SLICE + i]!;
  for (let i = FIRST_WORDS; i < STAT_WORDS; i++) out[at + i] = statx[SECOND_SLICE + i - FIRST_WORDS]!;
}

/** Whether `copyStat` would make this very record, at word `at`. */
export function isRecordOf(statx: Int32Array, record: Int32Array, at: number): boolean {
  for (let i = 0; i < FIRST_WORDS; i++) if (record[at + i] !== statx[FIRST_SLICE + i]) return false;
  for (let i = FIRST_WORDS; i < STAT_WORDS; i++)
    if (record[at + i] !== statx[SECOND_SLICE + i - FIRST_WORDS]) return false;
  return true;
}

/** One of S_IF*. */
export const fileType = (words: Int32Array, at: number): number => words[at + WORD.mode]! & S_IFMT;

/** False for sockets and for what is no POSIX type. */
export const isEntryType = (type: number): boolean => ((TYPE_BITS >> (type >> 12)) & 1) === 1;

/** Of a file, in bytes; what other types report as their size is nobody's business: 0. */
export function fileSize(words: Int32Array, at: number): number {
  if (fileType(words, at) !== S_IFREG) return 0;
  return unsigned64(words, at + WORD.size);
}

/**
 * Equal in all but the device number, which changes with reboots, the size of what is no file, and the link count of a
 * directory, which is no part of an entry (in /proc it is the number of processes).
 */
export function sameStat(a: Int32Array, atA: number, b: Int32Array, atB: number): boolean {
  if (a[atA + WORD.nlink] !== b[atB + WORD.nlink] && fileType(a, atA) !== S_IFDIR) return false;
  for (let i = WORD.nlink + 1; i < WORD.dev; i++) {
    if (a[atA + i] !== b[atB + i] && !(i >= WORD.size && i < WORD.ctime && fileType(a, atA) !== S_IFREG))
      return false;
  }
  return true;
}

/** Seconds since 1970 of the ctime and of the mtime, and their nanoseconds, from the record's word `at` on. */
export const ctimeSec = (words: Int32Array, at: number): number => signed64(words, at + WORD.ctime);
export const ctimeNsec = (words: Int32Array, at: number): number => words[at + WORD.ctime + 2]!;
export const mtimeSec = (words: Int32Array, at: number): number => signed64(words, at + WORD.mtime);
export const mtimeNsec = (words: Int32Array, at: number): number => words[at + WORD.mtime + 2]!;

const signed64 = (words: Int32Array, at: number): number => words[at + 1]! * TWO_32 + (words[at]! >>> 0);
const unsigned64 = (words: Int32Array, at: number): number =>
  (words[at + 1]! >>> 0) * TWO_32 + (words[at]! >>> 0);

/** A record of type, mode, size and device only, for an entry that is to be read again anyway. `dev`: of its hints. */
export function sketchStat(state: EntryState, dev: bigint): Int32Array {
  const record = new Int32Array(STAT_WORDS);
  const type = Number(Object.keys(TYPES).find((key) => TYPES[Number(key)] === state.type));
  record[WORD.mode] = type | state.mode;
  record[WORD.size] = state.size % TWO_32;
  record[WORD.size + 1] = Math.floor(state.size / TWO_32);
  record[WORD.dev] = Number(BigInt.asIntN(32, dev));
  record[WORD.dev + 1] = Number(BigInt.asIntN(32, dev >> 32n));
  return record;
}

/** The device of a sketch; 0n where its hints had none. */
export const sketchedDevice = (words: Int32Array, at: number): bigint =>
  (BigInt(words[at + WORD.dev + 1]! >>> 0) << 32n) | BigInt(words[at + WORD.dev]! >>> 0);

/** Words of the inode's number, and how many names it has. */
export const linkCount = (words: Int32Array, at: number): number => words[at + WORD.nlink]! >>> 0;
export const inodeOf = (words: Int32Array, at: number): bigint =>
  (BigInt(words[at + WORD.ino + 1]! >>> 0) << 32n) | BigInt(words[at + WORD.ino]! >>> 0);

export const sameInode = (a: Int32Array, atA: number, b: Int32Array, atB: number): boolean =>
  a[atA + WORD.ino] === b[atB + WORD.ino] && a[atA + WORD.ino + 1] === b[atB + WORD.ino + 1];

/** 27 bits of the inode's number. */
export const inodeHash = (words: Int32Array, at: number): number =>
  hashOfInode(words[at + WORD.ino]!, words[at + WORD.ino + 1]!);

export const hashOfInode = (low: number, high: number): number =>
  Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1) >>> 5;

/** Also of the same device: nothing tells that it is another file or has changed. */
export const isSameFile = (a: Int32Array, atA: number, b: Int32Array, atB: number): boolean =>
  sameStat(a, atA, b, atB) &&
  a[atA + WORD.dev] === b[atB + WORD.dev] &&
  a[atA + WORD.dev + 1] === b[atB + WORD.dev + 1];
