import { closeSync, readSync } from 'node:fs';
import { TmError } from '../../model/errors.ts';
import { baseName, parentPath, ROOT, type TreePath } from '../../model/tree-path.ts';
import { STAT_BYTES } from '../stat-record.ts';
import {
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  RESULT_BYTES,
  RESULT_WORDS,
  StateFlag,
  type StateHeader,
} from '../state-format.ts';
import { StateReader } from '../state-reader.ts';
import { StateIndex } from './state-index.ts';

/** Bytes of chunks that stay in memory: a chunk has up to 400 KB where a directory is large, most have one or two. */
const CACHED_BYTES = 4 * 1024 * 1024;

/** Entries of one directory as the file has them, void ones included. */
export class StateChunk {
  readonly words: Int32Array;
  readonly dir: TreePath;
  readonly count: number;
  readonly #bytes: Buffer;
  readonly #nameEnds: Uint32Array;
  readonly #namesAt: number;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.count = this.words[3]!;
    const dirBytes = this.words[4]!;
    const lengthsAt = CHUNK_HEADER_BYTES + this.count * (RESULT_BYTES + STAT_BYTES);
    const dirAt = lengthsAt + this.count;
    if (this.words[0] !== CHUNK_MAGIC || dirAt + dirBytes > bytes.length)
      throw new TmError('TM1012', 'a chunk has no valid header');
    this.dir = bytes.subarray(dirAt, dirAt + dirBytes);
    this.#namesAt = dirAt + dirBytes;
    this.#nameEnds = new Uint32Array(this.count);
    for (let i = 0, end = this.#namesAt; i < this.count; i++) {
      end += bytes[lengthsAt + i]!;
      this.#nameEnds[i] = end;
    }
  }

  resultAt(index: number): number {
    return CHUNK_HEADER_BYTES / 4 + index * RESULT_WORDS;
  }

  statAt(index: number): number {
    return (CHUNK_HEADER_BYTES + this.count * RESULT_BYTES + index * STAT_BYTES) / 4;
  }

  /** A view. */
  name(index: number): Buffer {
    return this.#bytes.subarray(
      index === 0 ? this.#namesAt : this.#nameEnds[index - 1]!,
      this.#nameEnds[index]!,
    );
  }

  isVoid(index: number): boolean {
    return (this.words[this.resultAt(index)]! & StateFlag.void) !== 0;
  }

  /** The first entry whose name is not before `name`; `count` when there is none. */
  lowerBound(name: Buffer): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.name(middle), name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Any entry of a state file, read where it stands. Owns the file descriptor. */
export class StateChunks {
  readonly header: StateHeader;
  readonly index: StateIndex;
  readonly #fd: number;
  /** The one that was read last comes last. */
  readonly #cache = new Map<number, StateChunk>();
  #cachedBytes = 0;

  private constructor(fd: number, header: StateHeader, index: StateIndex) {
    this.#fd = fd;
    this.header = header;
    this.index = index;
  }

  /** Undefined when there is no such file or it is damaged anywhere; it is read twice from end to end. */
  static open(path: string): StateChunks | undefined {
    const reader = StateReader.open(path);
    if (!reader) return undefined;
    const index = new StateIndex();
    for (; !reader.done; reader.advance()) index.add(reader);
    index.close();
    return new StateChunks(reader.takeFd(), reader.header, index);
  }

  chunk(number: number): StateChunk {
    const cached = this.#cache.get(number);
    if (cached) return cached;
    const chunk = this.#read(number);
    this.#cachedBytes += chunk.words.byteLength;
    for (const [oldest, { words }] of this.#cache) {
      if (this.#cachedBytes <= CACHED_BYTES) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= words.byteLength;
    }
    this.#cache.set(number, chunk);
    return chunk;
  }

  /** The number of the directory with this path; undefined when nothing is in it. */
  directory(path: TreePath): number | undefined {
    for (const one of this.index.directoriesOf(path)) {
      if (this.chunk(this.index.firstChunk(one)).dir.equals(path)) return one;
    }
    return undefined;
  }

  /** The number of the first directory that is not before `path`. */
  lowerBound(path: TreePath): number {
    let [low, high] = [0, this.index.directories];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.pathOf(middle), path) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  pathOf(directory: number): TreePath {
    return this.chunk(this.index.firstChunk(directory)).dir;
  }

  /** The chunk that holds the name, if any does. */
  chunkFor(directory: number, name: Buffer): StateChunk {
    let low = this.index.firstChunk(directory);
    let high = this.index.firstChunk(directory + 1);
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.chunk(middle).name(0), name) <= 0) low = middle;
      else high = middle;
    }
    return this.chunk(low);
  }

  /** A present entry. */
  find(path: TreePath): { chunk: StateChunk; index: number } | undefined {
    const dir = path.length === 0 ? ROOT : parentPath(path);
    const directory = this.directory(dir);
    if (directory === undefined) return undefined;
    const name = baseName(path);
    const chunk = this.chunkFor(directory, name);
    const index = chunk.lowerBound(name);
    const isThere = index < chunk.count && chunk.name(index).equals(name) && !chunk.isVoid(index);
    return isThere ? { chunk, index } : undefined;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Chunks that hold nothing present lie between them and are passed over. */
  #read(number: number): StateChunk {
    const at = this.index.offset(number)!;
    const end = this.index.offset(number + 1) ?? this.header.fileBytes;
    const bytes = Buffer.allocUnsafe(end - at); // aligned to 8 bytes, also where it is a piece of a larger one
    let done = 0;
    while (done < bytes.length) {
      const read = readSync(this.#fd, bytes, done, bytes.length - done, at + done);
      if (read === 0) throw new TmError('TM1012', 'it has become shorter');
      done += read;
    }
    return new StateChunk(bytes);
  }
}
