import { decodeHints, type EntryState, EntryType } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import {
  type Attribute,
  type AttributeSteps,
  changesNothing,
  type EntryHandle,
  localAttributes,
  planAttributes,
  readXattrs,
} from './attributes.ts';
import type { LocalContent } from './local-content.ts';
import type { Piece } from './pieces.ts';
import { sizeOf, typeOf } from './state-fields.ts';

const TYPES: Readonly<Record<EntryType, number>> = {
  [EntryType.file]: posix.S_IFREG,
  [EntryType.directory]: posix.S_IFDIR,
  [EntryType.symlink]: posix.S_IFLNK,
  [EntryType.fifo]: posix.S_IFIFO,
  [EntryType.charDevice]: posix.S_IFCHR,
  [EntryType.blockDevice]: posix.S_IFBLK,
};

export const fileTypeOf = (type: EntryType): number => TYPES[type];

/** Of encoded states and hints (model/entry.ts): seconds and nanoseconds, 12 bytes each, and 8 of the inode's number. */
const MTIME_AT = 12;
const CTIME_AT = 0;
const INO_AT = 24;

const sameWords = (one: Buffer, at: number, other: Buffer, otherAt: number, words: number): boolean => {
  for (let i = 0; i < words; i++)
    if (one.readUInt32LE(at + 4 * i) !== other.readUInt32LE(otherAt + 4 * i)) return false;
  return true;
};

/**
 * ctime cannot be set: an entry whose hints match has not changed since the backup read it. `state`, `hints`: encoded;
 * nothing is decoded, since in a restore in place most entries end here.
 */
export function sameByHints(stat: posix.Stat, state: Buffer, hints: Buffer): boolean {
  const { mtimeSec, ctimeSec, ino } = posix.STATX_OFFSETS;
  const { buffer } = stat;
  return (
    sameWords(buffer, mtimeSec, state, MTIME_AT, 3) &&
    sameWords(buffer, ctimeSec, hints, CTIME_AT, 3) &&
    sameWords(buffer, ino, hints, INO_AT, 2) &&
    !(hints.readUInt32LE(CTIME_AT) === 0 && hints.readUInt32LE(CTIME_AT + 4) === 0) &&
    stat.type === TYPES[typeOf(state)] &&
    (typeOf(state) !== EntryType.file || stat.sizeNumber === sizeOf(state))
  );
}

/** What a name of the target holds against what it should hold. `steps`: of 'metadata', what sets it right. */
export type Comparison =
  | { readonly op: 'equal' }
  | { readonly op: 'changed' }
  | { readonly op: 'metadata'; readonly steps: AttributeSteps };

const EQUAL: Comparison = { op: 'equal' };
const CHANGED: Comparison = { op: 'changed' };

/** An entry of the target is other names' too where the backup says that it is not; writing it would change those. */
function isShared(stat: posix.Stat, state: EntryState, hints: Buffer): boolean {
  if (state.linkGroup === 0n) return stat.nlink > 1;
  const { nlink } = decodeHints(hints);
  return nlink !== 0 && stat.nlink > nlink;
}

const opened = new posix.Stat();

/** Opens a file of the target to read it: never through a symlink, never waiting for a fifo's other end. */
export function openLocal(dirFd: number, name: Buffer, stat: posix.Stat): number | undefined {
  const { ino, dev } = stat;
  const flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_NOCTTY;
  const fd = posix.openat(dirFd, name, flags);
  if (fd < 0) return undefined;
  if (posix.fstat(fd, opened) === 0 && opened.ino === ino && opened.dev === dev) return fd;
  posix.close(fd);
  return undefined;
}

export function compareAttributes(
  handle: EntryHandle,
  stat: posix.Stat,
  state: EntryState,
  wanted: readonly Attribute[],
  isRoot: boolean,
): Comparison {
  const steps = planAttributes(localAttributes(stat, readXattrs(handle)), state, wanted, isRoot);
  return changesNothing(steps) ? EQUAL : { op: 'metadata', steps };
}

/** Compares what is no file. `stat` is of the name, which is there. */
export function compareOther(
  { dirFd, name, stat }: { readonly dirFd: number; readonly name: Buffer; readonly stat: posix.Stat },
  state: EntryState,
  hints: Buffer,
  wanted: readonly Attribute[],
  isRoot: boolean,
): Comparison {
  if (stat.type !== TYPES[state.type] || isShared(stat, state, hints)) return CHANGED;
  if (state.type === EntryType.symlink) {
    const target = posix.readlinkat(dirFd, name);
    if (typeof target === 'number' || !target.equals(state.target)) return CHANGED;
  } else if (state.type !== EntryType.fifo) {
    if (stat.rdevMajor !== state.rdevMajor || stat.rdevMinor !== state.rdevMinor) return CHANGED;
  }
  return compareAttributes({ dirFd, name, fd: undefined }, stat, state, wanted, isRoot);
}

/** Whether a local file could be the entry but for what it holds; then its content tells. */
export const comparable = (stat: posix.Stat, state: EntryState, hints: Buffer): boolean =>
  stat.type === posix.S_IFREG && stat.sizeNumber === state.size && !isShared(stat, state, hints);

/** Compares a file that is `comparable` and open. */
export function compareFile(
  handle: EntryHandle & { readonly fd: number },
  stat: posix.Stat,
  state: EntryState,
  pieces: readonly Piece[],
  wanted: readonly Attribute[],
  { content, isRoot }: { content: LocalContent; isRoot: boolean },
): Comparison {
  if (!content.matches(handle.fd, pieces, 0, state.size)) return CHANGED;
  return compareAttributes(handle, stat, state, wanted, isRoot);
}
