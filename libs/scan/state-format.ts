import { crc32 } from 'node:zlib';
import type { Epoch } from '../model/backup.ts';
import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { STAT_BYTES } from './stat-record.ts';

/**
 * The agent's state file: the entries of one source as of one backup, in the order of (dir, name). It is a cache:
 * a file that is damaged in any way counts as absent. Little-endian, everything aligned to 8 bytes:
 *
 *   header   512 bytes, written last: "TMSTATE1", u32 version, u64 length of the file, u64 entries, u64 seq,
 *            u64 epoch generation and counter, state digest (32), i64 scan's start (ns since 1970), u8 length and
 *            bytes of the source's uid; zeros; CRC-32 of the 508 bytes before
 *   chunks   each holds up to 1,024 entries of one directory; a directory may have several, in order:
 *            u32 magic, u32 CRC-32 of all but magic, itself and the results, u32 length of the chunk, u32 entries,
 *            u32 length of the directory's path, u32 length of the names, 8 zeros;
 *            results: u32 flags, entry hash (32), u32 check; stat records; name lengths (u8); path; names; zeros
 *
 * Results are patched after their chunk was written, so that they have a check of their own.
 */
const STATE_VERSION = 1;
export const HEADER_BYTES = 512;
export const CHUNK_MAGIC = 0x424d_5443;
export const CHUNK_HEADER_BYTES = 32;
export const CHUNK_ENTRIES = 1024;
export const HASH_BYTES = 32;
export const RESULT_BYTES = 40;
export const RESULT_WORDS = RESULT_BYTES / 4;
const ENTRY_BYTES = RESULT_BYTES + STAT_BYTES + 1;

const MAGIC = Buffer.from('TMSTATE1', 'latin1');

/** Flags of an entry in the state file. */
export const StateFlag = {
  /** To be read again: it could not be read well. */
  untrusted: 1,
  /** Never part of the backup (it vanished before it was read): readers skip it. */
  void: 2,
  /** The directory was the root of a mounted file system. */
  mountpoint: 4,
  /** To be read again: its timestamps are too recent to show a later change. */
  racy: 8,
} as const;

/** What a comparison found out and reading the entry doesn't change. */
export const LASTING_FLAGS = StateFlag.mountpoint | StateFlag.racy;

/** Which backup a state file belongs to. */
export interface StateIdentity {
  readonly sourceUid: string;
  readonly seq: number;
  readonly epoch: Epoch;
  /** 32 bytes; the sum of the hashes of all entries in the file (DigestSum). */
  readonly stateDigest: Buffer;
}

export interface StateHeader extends StateIdentity {
  /** Void ones included. */
  readonly entries: number;
  readonly fileBytes: number;
  /** Nanoseconds since 1970. */
  readonly startedAt: bigint;
}

export function encodeHeader(header: StateHeader): Buffer {
  const out = new ByteWriter(HEADER_BYTES);
  out.bytes(MAGIC);
  out.u32(STATE_VERSION);
  out.u64(header.fileBytes);
  out.u64(header.entries);
  out.u64(header.seq);
  out.u64(header.epoch.generation);
  out.u64(header.epoch.counter);
  out.bytes(header.stateDigest);
  out.i64(header.startedAt);
  out.text8(header.sourceUid);
  const bytes = Buffer.alloc(HEADER_BYTES);
  out.finish().copy(bytes);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  return bytes;
}

/** Undefined when it is damaged, unfinished or of another version. */
export function decodeHeader(bytes: Buffer): StateHeader | undefined {
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (crc32(bytes.subarray(0, HEADER_BYTES - 4)) !== bytes.readUInt32LE(HEADER_BYTES - 4)) return undefined;
  const input = new ByteReader(bytes, MAGIC.length, HEADER_BYTES);
  if (input.u32() !== STATE_VERSION) return undefined;
  return {
    fileBytes: input.u64(),
    entries: input.u64(),
    seq: input.u64(),
    epoch: { generation: input.u64(), counter: input.u64() },
    stateDigest: Buffer.from(input.bytes(HASH_BYTES)),
    startedAt: input.i64(),
    sourceUid: input.text8(),
  };
}

/** Check word over flags and hash of the result at word `at`. Against torn and lost writes, not against forgery. */
export function resultCheck(words: Int32Array, at: number): number {
  let check = 0x2545_f491;
  for (let i = 0; i < RESULT_WORDS - 1; i++) {
    check = Math.imul(check ^ words[at + i]!, 0x9e37_79b1);
    check ^= check >>> 15;
  }
  return check;
}

/** CRC of a chunk whose header, but for magic and CRC, is filled in. */
export function chunkCrc(chunk: Buffer, entries: number): number {
  const head = crc32(chunk.subarray(8, CHUNK_HEADER_BYTES));
  return crc32(chunk.subarray(CHUNK_HEADER_BYTES + entries * RESULT_BYTES), head);
}

/** Length of a chunk: a multiple of 8. */
export const chunkBytes = (entries: number, dirBytes: number, nameBytes: number): number =>
  Math.ceil((CHUNK_HEADER_BYTES + entries * ENTRY_BYTES + dirBytes + nameBytes) / 8) * 8;
