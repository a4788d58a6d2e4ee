import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DigestSum } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { MAX_PATH_BYTES, ROOT, type TreePath } from '../model/tree-path.ts';
import { STAT_BYTES } from './stat-record.ts';
import type { StateCursor } from './state-cursor.ts';
import {
  CHUNK_ENTRIES,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  chunkBytes,
  chunkCrc,
  decodeHeader,
  HASH_BYTES,
  HEADER_BYTES,
  RESULT_BYTES,
  RESULT_WORDS,
  resultCheck,
  StateFlag,
  type StateHeader,
} from './state-format.ts';

const WINDOW_BYTES = 1024 * 1024;
/** Read at once, so that of the window no more is touched than large chunks need. */
const READ_BYTES = 256 * 1024;

/** Entries of one directory that lie together, as state-format.ts says, in memory that is used again. */
export interface ReadChunk {
  /** Void ones included. */
  readonly count: number;
  /** All that is in memory, as bytes and as words. */
  readonly bytes: Buffer;
  readonly words: Int32Array;
  /** Byte where it begins, and its length in bytes. */
  readonly at: number;
  readonly length: number;
  /** Words of the first entry's result and stat record. */
  readonly resultAt: number;
  readonly statAt: number;
  /** Bytes of the first name's length (one byte for each) and of the first name (one after the other). */
  readonly lengthsAt: number;
  readonly namesAt: number;
}

const damaged = (what: string) => new TmError('TM1012', what);

/**
 * A cursor over the entries of a state file, in order, void ones left out. Memory is bounded (1 MiB). What the
 * properties show is valid until `advance`, which throws TM1012 where the file was damaged after it was opened.
 */
export class StateReader implements StateCursor {
  readonly header: StateHeader;
  #fd: number;
  readonly #window = Buffer.from(new ArrayBuffer(WINDOW_BYTES));
  /** The window as words, for `statAt` and `resultAt`. */
  readonly words = new Int32Array(this.#window.buffer);
  /** Chunks from #at to #end of the window are unread; they end at #fileAt of the file. */
  #at = 0;
  #end = 0;
  #fileAt = HEADER_BYTES;
  #index = 0;
  #count = 0;
  /** The checksums were found right. */
  #isChecked = false;
  #lengthsAt = 0;
  #nameAt = 0;
  #nameEnd = 0;

  /** Directory of the present entry. */
  dir: TreePath = ROOT;
  /** Changes with `dir`; 0 at the end. */
  dirSerial = 0;
  /** Word of the present entry's stat record in `words`. */
  statAt = 0;
  /** Word of its result: flags, then eight words of hash. */
  resultAt = 0;

  private constructor(fd: number, header: StateHeader) {
    this.#fd = fd;
    this.header = header;
  }

  /** Undefined when there is no such file, or when it is damaged anywhere: it is read once from end to end. */
  static open(path: string): StateReader | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new TmError('TM1010', path, { cause });
    }
    const head = Buffer.alloc(HEADER_BYTES);
    const header = readSync(fd, head, 0, HEADER_BYTES, 0) === HEADER_BYTES ? decodeHeader(head) : undefined;
    if (header && fstatSync(fd).size === header.fileBytes) {
      const reader = new StateReader(fd, header);
      if (reader.#isWhole()) return reader;
    }
    closeSync(fd);
    return undefined;
  }

  /** A state without entries. */
  static none(): StateReader {
    const reader = new StateReader(-1, {
      sourceUid: '',
      seq: 0,
      epoch: { generation: 0, counter: 0 },
      stateDigest: new DigestSum().bytes(),
      entries: 0,
      fileBytes: HEADER_BYTES,
      startedAt: 0n,
    });
    reader.rewind();
    return reader;
  }

  /** Made anew from the registry, which does not know racy times and mount points. */
  get isRebuilt(): boolean {
    return this.header.entries > 0 && this.header.startedAt === 0n;
  }

  /** No entry is left. */
  get done(): boolean {
    return this.dirSerial === 0;
  }

  get flags(): number {
    return this.words[this.resultAt]!;
  }

  /** Where in the file the present entry's chunk begins. */
  get chunkAt(): number {
    return this.#fileAt - (this.#end - this.#at);
  }

  /** The chunk that begins with the present entry; undefined where none does. */
  get chunk(): ReadChunk | undefined {
    if (this.#index !== 1) return undefined;
    return {
      count: this.#count,
      bytes: this.#window,
      words: this.words,
      at: this.#at,
      length: this.words[this.#at / 4 + 2]!,
      resultAt: this.resultAt,
      statAt: this.statAt,
      lengthsAt: this.#lengthsAt,
      namesAt: this.#nameAt,
    };
  }

  /** A view. Empty for the root. */
  get name(): Buffer {
    return this.#window.subarray(this.#nameAt, this.#nameEnd);
  }

  /** A copy. */
  get hash(): Buffer {
    const at = this.resultAt * 4 + 4;
    return Buffer.from(this.#window.subarray(at, at + HASH_BYTES));
  }

  /** Order of the present entry's name to the bytes of `other` from `start` to `end`. */
  compareName(other: Buffer, start: number, end: number): number {
    const window = this.#window;
    const length = Math.min(this.#nameEnd - this.#nameAt, end - start);
    for (let i = 0, at = this.#nameAt; i < length; i++, at++) {
      const difference = window[at]! - other[start + i]!;
      if (difference !== 0) return difference;
    }
    return this.#nameEnd - this.#nameAt - (end - start);
  }

  /** To the first entry. */
  rewind(): void {
    this.#at = 0;
    this.#end = 0;
    this.#fileAt = HEADER_BYTES;
    this.#index = 0;
    this.#count = 0;
    this.dir = ROOT;
    this.dirSerial = 1;
    this.advance();
  }

  /** To the next entry; at the last one, the reader is done. */
  advance(): void {
    do {
      if (this.#index === this.#count && !this.#nextChunk()) {
        this.dirSerial = 0;
        this.dir = ROOT;
        return;
      }
      const index = this.#index++;
      this.resultAt = (this.#at + CHUNK_HEADER_BYTES) / 4 + index * RESULT_WORDS;
      this.statAt = (this.#at + CHUNK_HEADER_BYTES + this.#count * RESULT_BYTES + index * STAT_BYTES) / 4;
      this.#nameAt = this.#nameEnd;
      this.#nameEnd += this.#window[this.#lengthsAt + index]!;
    } while ((this.words[this.resultAt]! & StateFlag.void) !== 0);
  }

  /** To the first entry of the next chunk. */
  skipChunk(): void {
    this.#index = this.#count;
    this.advance();
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
  }

  /** The file's descriptor is the caller's from now on; the reader is of no more use. */
  takeFd(): number {
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }

  #nextChunk(): boolean {
    if (this.#count > 0) this.#at += this.words[this.#at / 4 + 2]!;
    this.#count = 0;
    this.#index = 0;
    if (!this.#load(CHUNK_HEADER_BYTES)) {
      if (this.#at !== this.#end) throw damaged('it ends within a chunk');
      return false;
    }
    const { words } = this;
    const header = this.#at / 4;
    const magic = words[header]! >>> 0;
    const crc = words[header + 1]! >>> 0;
    const length = words[header + 2]! >>> 0;
    const count = words[header + 3]! >>> 0;
    const dirBytes = words[header + 4]! >>> 0;
    const nameBytes = words[header + 5]! >>> 0;
    const plausible =
      magic === CHUNK_MAGIC && count > 0 && count <= CHUNK_ENTRIES && dirBytes <= MAX_PATH_BYTES;
    if (
      !plausible ||
      length !== chunkBytes(count, dirBytes, nameBytes) ||
      length > WINDOW_BYTES ||
      !this.#load(length)
    )
      throw damaged('a chunk has no valid header');
    if (!this.#isChecked) this.#check(crc, length, count);
    this.#lengthsAt = this.#at + CHUNK_HEADER_BYTES + count * (RESULT_BYTES + STAT_BYTES);
    this.#enterDir(this.#lengthsAt + count, dirBytes);
    this.#nameEnd = this.#lengthsAt + count + dirBytes;
    this.#count = count;
    return true;
  }

  #check(crc: number, length: number, count: number): void {
    const chunk = this.#window.subarray(this.#at, this.#at + length);
    if (chunkCrc(chunk, count) !== crc) throw damaged('a chunk has a wrong checksum');
    let at = (this.#at + CHUNK_HEADER_BYTES) / 4;
    for (let i = 0; i < count; i++, at += RESULT_WORDS) {
      if (resultCheck(this.words, at) !== this.words[at + RESULT_WORDS - 1])
        throw damaged('a result is torn');
    }
  }

  #enterDir(at: number, length: number): void {
    const dir = this.#window.subarray(at, at + length);
    if (this.dir.equals(dir)) return;
    this.dir = Buffer.from(dir);
    this.dirSerial++;
  }

  /** Has `length` bytes in the window from #at on; false at the end of the file. */
  #load(length: number): boolean {
    if (this.#end - this.#at >= length) return true;
    this.#window.copyWithin(0, this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
    while (this.#end < length) {
      const room = Math.min(READ_BYTES, WINDOW_BYTES - this.#end, this.header.fileBytes - this.#fileAt);
      const read = room > 0 ? readSync(this.#fd, this.#window, this.#end, room, this.#fileAt) : 0;
      if (read === 0) return false;
      this.#end += read;
      this.#fileAt += read;
    }
    return true;
  }

  #isWhole(): boolean {
    try {
      const isWhole = this.#sumsUp();
      this.#isChecked = isWhole;
      return isWhole;
    } catch {
      return false;
    }
  }

  /** Reads it from end to end: checksums, order and the sum of the hashes. Rewinds. */
  #sumsUp(): boolean {
    const sum = new HashSum();
    let dir: TreePath = ROOT;
    for (this.rewind(); !this.done; this.skipChunk()) {
      if (this.dir !== dir && Buffer.compare(dir, this.dir) > 0) return false;
      dir = this.dir;
      sum.add(this.words, (this.#at + CHUNK_HEADER_BYTES) / 4, this.#count);
    }
    this.rewind();
    return sum.bytes().equals(this.header.stateDigest);
  }
}

const TWO_32 = 2 ** 32;

/** DigestSum over the hashes of results, without an object for each. */
class HashSum {
  readonly #words = new Float64Array(8);
  #count = 0;

  /** Of `count` results from word `at` on; void ones are left out. */
  add(words: Int32Array, at: number, count: number): void {
    const sums = this.#words;
    for (const end = at + count * RESULT_WORDS; at < end; at += RESULT_WORDS) {
      if ((words[at]! & StateFlag.void) !== 0) continue;
      for (let i = 0; i < 8; i++) sums[i]! += words[at + 1 + i]! >>> 0;
    }
    this.#count += count;
    if (this.#count > 1_000_000) this.#carry();
  }

  bytes(): Buffer {
    this.#carry();
    const out = Buffer.alloc(HASH_BYTES);
    this.#words.forEach((word, i) => {
      out.writeUInt32LE(word, i * 4);
    });
    return out;
  }

  /** Brings each word below 2^32; they are exact up to 2^53. */
  #carry(): void {
    let carry = 0;
    for (let i = 0; i < 8; i++) {
      const sum = this.#words[i]! + carry;
      this.#words[i] = sum % TWO_32;
      carry = Math.floor(sum / TWO_32);
    }
    this.#count = 0;
  }
}
