import {
  closeSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { ByteReader } from '../../model/byte-reader.ts';
import { ByteWriter } from '../../model/byte-writer.ts';
import { TmError } from '../../model/errors.ts';
import type { TreePath } from '../../model/tree-path.ts';
import { STAT_BYTES } from '../stat-record.ts';
import { HASH_BYTES, StateFlag, type StateIdentity } from '../state-format.ts';
import { RECORD_WORDS } from './overlay.ts';

/**
 * What changed since a state file was written, in `<state file>.log`: one segment for each backup, little-endian.
 *
 *   segment   "TMSLOG01", u32 CRC-32 of all that follows, u32 number of groups, u64 length of all that follows;
 *             the backup that it goes on from and the backup that it leads to, each as u64 seq, u64 epoch generation
 *             and counter, state digest (32); groups
 *   group     u16 length and bytes of the directory's path, u32 entries
 *   entry     u8 length and bytes of the name, u32 flags; unless these say void (it is gone): hash (32), stat record
 *
 * A cache, as the state file: of a damaged segment on, nothing counts.
 */
const MAGIC = Buffer.from('TMSLOG01', 'latin1');
const CRC_AT = 8;
const BODY_AT = 24;

/** A record of RECORD_WORDS at word `at`; gone where its flags say void. */
export interface LoggedEntry {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly words: Int32Array;
  readonly at: number;
}

export interface LogSegment {
  readonly from: StateIdentity;
  readonly to: StateIdentity;
  readonly groups: number;
  /** The groups' bytes. */
  readonly body: Buffer;
  /** Where it ends in the file. */
  readonly end: number;
}

export const logPath = (stateFile: string): string => `${stateFile}.log`;

export const sameIdentity = (a: StateIdentity, b: StateIdentity): boolean =>
  a.sourceUid === b.sourceUid &&
  a.seq === b.seq &&
  a.epoch.generation === b.epoch.generation &&
  a.epoch.counter === b.epoch.counter &&
  a.stateDigest.equals(b.stateDigest);

/** Entries of one directory should lie behind one another. */
export function encodeSegment(
  from: StateIdentity,
  to: StateIdentity,
  entries: Iterable<LoggedEntry>,
): Buffer {
  const body = new ByteWriter(64 * 1024);
  encodeIdentity(from, body);
  encodeIdentity(to, body);
  const groups = encodeGroups(entries, body);
  const bytes = Buffer.alloc(BODY_AT + body.length);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(groups, CRC_AT + 4);
  bytes.writeBigUInt64LE(BigInt(body.length), CRC_AT + 8);
  body.finish().copy(bytes, BODY_AT);
  bytes.writeUInt32LE(crc32(bytes.subarray(CRC_AT + 4)), CRC_AT);
  return bytes;
}

function encodeGroups(entries: Iterable<LoggedEntry>, out: ByteWriter): number {
  let groups = 0;
  let group: LoggedEntry[] = [];
  const close = () => {
    if (group.length === 0) return;
    groups++;
    out.u16(group[0]!.dir.length);
    out.bytes(group[0]!.dir);
    out.u32(group.length);
    for (const entry of group) encodeEntry(entry, out);
    group = [];
  };
  for (const entry of entries) {
    if (group[0] && !group[0].dir.equals(entry.dir)) close();
    group.push(entry);
  }
  close();
  return groups;
}

function encodeEntry({ name, words, at }: LoggedEntry, out: ByteWriter): void {
  const flags = words[at]!;
  out.u8(name.length);
  out.bytes(name);
  out.u32(flags);
  if ((flags & StateFlag.void) !== 0) return;
  const record = Buffer.from(words.buffer, words.byteOffset + at * 4, RECORD_WORDS * 4);
  out.bytes(record.subarray(4, 4 + HASH_BYTES));
  out.bytes(record.subarray(RECORD_WORDS * 4 - STAT_BYTES));
}

/** Its entries; their words are valid until the next one is asked for. */
export function* segmentEntries({ body, groups }: LogSegment): Generator<LoggedEntry, void> {
  const input = new ByteReader(body);
  const words = new Int32Array(RECORD_WORDS);
  const record = Buffer.from(words.buffer);
  for (let n = groups; n > 0; n--) {
    const dir = input.bytes(input.u16());
    for (let left = input.u32(); left > 0; left--) {
      const name = input.bytes(input.u8());
      words.fill(0);
      words[0] = input.u32();
      if ((words[0] & StateFlag.void) === 0) {
        input.bytes(HASH_BYTES).copy(record, 4);
        input.bytes(STAT_BYTES).copy(record, RECORD_WORDS * 4 - STAT_BYTES);
      }
      yield { dir, name, words, at: 0 };
    }
  }
}

const encodeIdentity = ({ seq, epoch, stateDigest }: StateIdentity, out: ByteWriter): void => {
  out.u64(seq);
  out.u64(epoch.generation);
  out.u64(epoch.counter);
  out.bytes(stateDigest);
};

const decodeIdentity = (sourceUid: string, input: ByteReader): StateIdentity => ({
  sourceUid,
  seq: input.u64(),
  epoch: { generation: input.u64(), counter: input.u64() },
  stateDigest: Buffer.from(input.bytes(HASH_BYTES)),
});

/**
 * The segments that lead from the state of one backup to that of another; undefined where none do. Those of backups
 * that failed are on no way. The log's bytes are in memory until the segments are dropped.
 */
export function segmentsBetween(
  stateFile: string,
  from: StateIdentity,
  to: StateIdentity,
): LogSegment[] | undefined {
  const way: LogSegment[] = [];
  let wanted = to;
  for (const segment of readSegments(stateFile, from.sourceUid).reverse()) {
    if (sameIdentity(wanted, from)) break;
    if (!sameIdentity(segment.to, wanted)) continue;
    way.push(segment);
    wanted = segment.from;
  }
  return sameIdentity(wanted, from) ? way.reverse() : undefined;
}

function readSegments(stateFile: string, sourceUid: string): LogSegment[] {
  const bytes = readLog(stateFile);
  const segments: LogSegment[] = [];
  for (let at = 0; ; at = segments.at(-1)!.end) {
    const segment = decodeSegment(bytes, at, sourceUid);
    if (!segment) return segments;
    segments.push(segment);
  }
}

function decodeSegment(bytes: Buffer, at: number, sourceUid: string): LogSegment | undefined {
  if (bytes.length - at < BODY_AT || !bytes.subarray(at, at + CRC_AT).equals(MAGIC)) return undefined;
  const end = at + BODY_AT + Number(bytes.readBigUInt64LE(at + CRC_AT + 8));
  if (end > bytes.length) return undefined;
  if (crc32(bytes.subarray(at + CRC_AT + 4, end)) !== bytes.readUInt32LE(at + CRC_AT)) return undefined;
  const input = new ByteReader(bytes, at + BODY_AT, end);
  const from = decodeIdentity(sourceUid, input);
  const to = decodeIdentity(sourceUid, input);
  const groups = bytes.readUInt32LE(at + CRC_AT + 4);
  return { from, to, groups, body: bytes.subarray(input.offset, end), end };
}

function readLog(stateFile: string): Buffer {
  try {
    return readFileSync(logPath(stateFile));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw new TmError('TM1010', logPath(stateFile), { cause });
  }
}

/**
 * Puts a segment behind the first `length` bytes, durably, and drops what else was there; gives where it begins, which
 * is sooner where somebody else took the log into a new state file.
 */
export function appendSegment(stateFile: string, segment: Buffer, length: number): number {
  const path = logPath(stateFile);
  const start = Math.min(length, statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  cutLog(stateFile, start);
  const fd = openSync(path, 'a', 0o600);
  try {
    let done = 0;
    while (done < segment.length) done += writeSync(fd, segment, done);
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return start;
}

/** Drops what lies behind the first `length` bytes. */
export function cutLog(stateFile: string, length: number): void {
  const path = logPath(stateFile);
  if (length === 0) {
    rmSync(path, { force: true });
    return;
  }
  truncateSync(path, length);
}
