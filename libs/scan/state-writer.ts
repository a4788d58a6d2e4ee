import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { TmError } from '../model/errors.ts';
import { MAX_NAME_BYTES, MAX_PATH_BYTES, ROOT, type TreePath } from '../model/tree-path.ts';
import type { NewState } from './port.ts';
import { STAT_BYTES, STAT_WORDS } from './stat-record.ts';
import type { StateCursor, StateSink } from './state-cursor.ts';
import {
  CHUNK_ENTRIES,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  chunkBytes,
  chunkCrc,
  encodeHeader,
  HASH_BYTES,
  HEADER_BYTES,
  LASTING_FLAGS,
  RESULT_BYTES,
  RESULT_WORDS,
  resultCheck,
  StateFlag,
  type StateIdentity,
} from './state-format.ts';
import type { ReadChunk } from './state-reader.ts';

const OUT_BYTES = 4 * 1024 * 1024;
/** What is copied only goes out sooner: it stays in the processor's cache, and less memory is touched. */
const COPIED_BYTES = 256 * 1024;
const MAX_CHUNK_BYTES = chunkBytes(CHUNK_ENTRIES, MAX_PATH_BYTES, CHUNK_ENTRIES * MAX_NAME_BYTES);
const FLAGS_AND_HASH_WORDS = RESULT_WORDS - 1;
const ALL_FLAGS = ~0;
const NO_HASH = Buffer.alloc(HASH_BYTES);

const bytesOf = (words: Int32Array): Buffer => Buffer.from(words.buffer, words.byteOffset, words.byteLength);

/**
 * Writes `<path>.new`, entries in the order of (dir, name). Each entry gets a handle by which its flags and hash can
 * be patched until `finish`; the last few MiB are patched in memory. Nothing is read from the file before its
 * header, which `finish` writes. Owns the file descriptor.
 */
export class StateWriter implements NewState, StateSink {
  readonly path: string;
  readonly #newPath: string;
  readonly #startedAt: bigint;
  #fd: number;

  /** The chunk being filled. */
  #dir: Buffer = ROOT;
  #count = 0;
  #nameBytes = 0;
  #chunkAt = HEADER_BYTES;
  readonly #results = new Int32Array(CHUNK_ENTRIES * RESULT_WORDS);
  readonly #stats = new Int32Array(CHUNK_ENTRIES * STAT_WORDS);
  readonly #lengths = Buffer.alloc(CHUNK_ENTRIES);
  readonly #names = Buffer.allocUnsafe(CHUNK_ENTRIES * MAX_NAME_BYTES);
  readonly #resultBytes = bytesOf(this.#results);
  readonly #statBytes = bytesOf(this.#stats);

  /** Finished chunks that are not in the file yet; they begin at file offset #flushed. */
  readonly #out = Buffer.from(new ArrayBuffer(OUT_BYTES));
  readonly #outWords = new Int32Array(this.#out.buffer);
  #outBytes = 0;
  #flushed = HEADER_BYTES;
  /** Of an entry that is not in the file yet. */
  #awaitsPatches = false;
  #entries = 0;
  readonly #patch = new Int32Array(RESULT_WORDS);
  readonly #patchBytes = bytesOf(this.#patch);

  /** `startedAt`: when the scan began, ns since 1970. */
  constructor(path: string, startedAt: bigint) {
    this.path = path;
    this.#newPath = `${path}.new`;
    this.#startedAt = startedAt;
    rmSync(this.#newPath, { force: true });
    this.#fd = openSync(this.#newPath, 'wx+', 0o600);
  }

  /** The entries that follow are of this directory. */
  enter(dir: TreePath): void {
    const order = Buffer.compare(this.#dir, dir);
    if (order > 0) throw new TmError('TM1099', 'the state is written out of order');
    if (order === 0) return;
    this.#closeChunk();
    this.#dir = dir;
  }

  /** Adds an entry of the entered directory; gives its handle. `stat` is a record at word `statAt`. */
  append(name: Buffer, stat: Int32Array, statAt: number, flags: number, hash: Buffer = NO_HASH): number {
    const at = this.#add(name, stat, statAt);
    this.#awaitsPatches = true;
    this.#results[at] = flags;
    setResult(this.#results, this.#resultBytes, at, ALL_FLAGS, 0, hash);
    return this.#handle(at);
  }

  /** As append, with the hash of the reader's present entry. */
  appendKnown(name: Buffer, stat: Int32Array, statAt: number, flags: number, reader: StateCursor): number {
    const at = this.#add(name, stat, statAt);
    const { words, resultAt } = reader;
    this.#results[at] = flags;
    for (let i = 1; i < FLAGS_AND_HASH_WORDS; i++) this.#results[at + i] = words[resultAt + i]!;
    this.#results[at + FLAGS_AND_HASH_WORDS] = resultCheck(this.#results, at);
    return this.#handle(at);
  }

  /** Adds the reader's present entry as it stands, with `flags` on top of its own. */
  copy(reader: StateCursor, flags = 0): number {
    return this.appendKnown(reader.name, reader.words, reader.statAt, reader.flags | flags, reader);
  }

  /** False where a chunk would leave too small a one before it. */
  get takesChunks(): boolean {
    return this.#count === 0 || this.#count >= CHUNK_ENTRIES / 2;
  }

  /** Adds a chunk of the entered directory as it stands; gives the handle of its first entry, others follow it. */
  copyChunk({ bytes, at, length, count }: ReadChunk): number {
    this.#closeChunk();
    if (this.#outBytes + length > (this.#awaitsPatches ? OUT_BYTES : COPIED_BYTES)) this.#flush();
    bytes.copy(this.#out, this.#outBytes, at, at + length);
    const handle = this.#handle(0);
    this.#outBytes += length;
    this.#chunkAt += length;
    this.#entries += count;
    return handle;
  }

  #handle(resultAt: number): number {
    return this.#chunkAt + CHUNK_HEADER_BYTES + resultAt * 4;
  }

  #add(name: Buffer, stat: Int32Array, statAt: number): number {
    if (this.#count === CHUNK_ENTRIES) this.#closeChunk();
    const index = this.#count++;
    const at = index * STAT_WORDS;
    for (let i = 0; i < STAT_WORDS; i++) this.#stats[at + i] = stat[statAt + i]!;
    const { length } = name;
    this.#lengths[index] = length;
    for (let i = 0, to = this.#nameBytes; i < length; i++, to++) this.#names[to] = name[i]!;
    this.#nameBytes += length;
    this.#entries++;
    return index * RESULT_WORDS;
  }

  /** An entry was read: its hash, and whether the next scan may take it for unchanged. */
  patch(handle: number, result: { readonly hash: Buffer; readonly trusted: boolean }): void {
    this.#update(handle, LASTING_FLAGS, result.trusted ? 0 : StateFlag.untrusted, result.hash);
  }

  /** An entry turned out to be no part of the backup. */
  void(handle: number): void {
    this.#update(handle, 0, StateFlag.void, NO_HASH);
  }

  /** Makes the next scan read the entry again. */
  distrust(handle: number): void {
    this.#update(handle, ALL_FLAGS, StateFlag.untrusted, undefined);
  }

  /** From now on what is below the directory stays while nothing is mounted there. */
  markMountpoint(handle: number): void {
    this.#update(handle, ALL_FLAGS, StateFlag.mountpoint, undefined);
  }

  /** The entry's hash at present, a copy. */
  hashOf(handle: number): Buffer {
    const hash = Buffer.alloc(HASH_BYTES);
    const at = handle + 4;
    if (handle >= this.#chunkAt) this.#resultBytes.copy(hash, 0, at - this.#chunkAt - CHUNK_HEADER_BYTES);
    else if (handle >= this.#flushed) this.#out.copy(hash, 0, at - this.#flushed);
    else readSync(this.#fd, hash, 0, HASH_BYTES, at);
    return hash;
  }

  #update(handle: number, keep: number, add: number, hash: Buffer | undefined): void {
    if (handle >= this.#chunkAt) {
      const at = (handle - this.#chunkAt - CHUNK_HEADER_BYTES) / 4;
      setResult(this.#results, this.#resultBytes, at, keep, add, hash);
    } else if (handle >= this.#flushed) {
      setResult(this.#outWords, this.#out, (handle - this.#flushed) / 4, keep, add, hash);
    } else {
      readSync(this.#fd, this.#patchBytes, 0, RESULT_BYTES, handle);
      setResult(this.#patch, this.#patchBytes, 0, keep, add, hash);
      this.#write(this.#patchBytes, RESULT_BYTES, handle);
    }
  }

  /** All entries and patches are in: makes the file whole and durable under its temporary name. */
  finish(identity: StateIdentity): void {
    this.#closeChunk();
    this.#flush();
    const header = encodeHeader({
      ...identity,
      entries: this.#entries,
      fileBytes: this.#flushed,
      startedAt: this.#startedAt,
    });
    this.#write(header, header.length, 0);
    fsyncSync(this.#fd);
  }

  /** After the backup was committed. A crash before it loses nothing: readers try `<path>.new` as well. */
  commit(): void {
    this.#close();
    renameSync(this.#newPath, this.path);
  }

  /** The backup may still turn out to be committed: `openState` takes the file then, and nobody else does. */
  leave(): void {
    this.#close();
  }

  abandon(): void {
    this.#close();
    rmSync(this.#newPath, { force: true });
  }

  #close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #closeChunk(): void {
    const count = this.#count;
    if (count === 0) return;
    if (this.#outBytes + MAX_CHUNK_BYTES > OUT_BYTES) this.#flush();
    const length = chunkBytes(count, this.#dir.length, this.#nameBytes);
    const chunk = this.#out.subarray(this.#outBytes, this.#outBytes + length);
    [CHUNK_MAGIC, 0, length, count, this.#dir.length, this.#nameBytes, 0, 0].forEach((value, i) => {
      chunk.writeUInt32LE(value, i * 4);
    });
    let at = CHUNK_HEADER_BYTES;
    at += this.#resultBytes.copy(chunk, at, 0, count * RESULT_BYTES);
    at += this.#statBytes.copy(chunk, at, 0, count * STAT_BYTES);
    at += this.#lengths.copy(chunk, at, 0, count);
    at += this.#dir.copy(chunk, at);
    at += this.#names.copy(chunk, at, 0, this.#nameBytes);
    chunk.fill(0, at);
    chunk.writeUInt32LE(chunkCrc(chunk, count), 4);
    this.#outBytes += length;
    this.#chunkAt += length;
    this.#count = 0;
    this.#nameBytes = 0;
  }

  #flush(): void {
    this.#write(this.#out, this.#outBytes, this.#flushed);
    this.#flushed += this.#outBytes;
    this.#outBytes = 0;
    this.#awaitsPatches = false;
  }

  #write(bytes: Buffer, length: number, position: number): void {
    let done = 0;
    while (done < length) done += writeSync(this.#fd, bytes, done, length - done, position + done);
  }
}

/**
 * Changes the result at word `at`: of its flags those in `keep` stay, and `add` come to them; its hash stays when
 * none is given. `bytes` and `words` are views of the same memory.
 */
function setResult(
  words: Int32Array,
  bytes: Buffer,
  at: number,
  keep: number,
  add: number,
  hash: Buffer | undefined,
): void {
  words[at] = (words[at]! & keep) | add;
  if (hash) hash.copy(bytes, at * 4 + 4, 0, HASH_BYTES);
  words[at + FLAGS_AND_HASH_WORDS] = resultCheck(words, at);
}
