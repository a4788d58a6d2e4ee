import type { TreePath } from '../../model/tree-path.ts';
import { S_IFDIR, S_IFREG } from '../../posix/index.ts';
import { fileSize, fileType, inodeHash } from '../stat-record.ts';
import type { StateReader } from '../state-reader.ts';
import type { ScanTotals } from '../steps.ts';

/** An inode's hash (27 bits) and the number of a chunk (26 bits) make one number that is exact. */
const CHUNKS = 2 ** 26;

export type TreeTotals = Omit<ScanTotals, 'unchanged'>;

export const noTotals = (): TreeTotals => ({ files: 0, directories: 0, others: 0, bytes: 0 });

/** Adds an entry `times` times: 1, or -1 to take it away. */
export function countEntry(totals: TreeTotals, words: Int32Array, at: number, times: number): void {
  const type = fileType(words, at);
  if (type === S_IFREG) {
    totals.files += times;
    totals.bytes += times * fileSize(words, at);
  } else if (type === S_IFDIR) totals.directories += times;
  else totals.others += times;
}

/** Numbers in memory that grows with them. */
class Numbers {
  #values = new Float64Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new Float64Array(this.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.length++] = value;
  }

  /** A view. */
  get values(): Float64Array {
    return this.#values.subarray(0, this.length);
  }
}

/** Of a directory's path, 32 bits (FNV-1a). */
function pathHash(path: TreePath): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path[i]!, 0x0100_0193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/**
 * Where in a state file what is: chunks by directory, and by inode. Some 30 bytes for each directory and 8 for each
 * entry. Filled entry by entry in the order of the file; chunks without present entries are not in it.
 */
export class StateIndex {
  /** Of the tree that the state is of. */
  readonly totals = noTotals();
  /** Where in the file each chunk begins. */
  readonly #offsets = new Numbers();
  /** The first chunk of each directory, and the hash of its path. */
  readonly #firsts = new Numbers();
  readonly #hashes = new Numbers();
  /** Chunks by inode. */
  readonly #inodes = new Numbers();
  #serial = 0;
  #lastAt = -1;
  /** Directories (their numbers, from 1) by hash, with open addressing. */
  #table = new Int32Array(0);

  add(reader: StateReader): void {
    if (reader.chunkAt !== this.#lastAt) {
      this.#lastAt = reader.chunkAt;
      this.#offsets.push(reader.chunkAt);
    }
    if (reader.dirSerial !== this.#serial) {
      this.#serial = reader.dirSerial;
      this.#firsts.push(this.chunks - 1);
      this.#hashes.push(pathHash(reader.dir));
    }
    countEntry(this.totals, reader.words, reader.statAt, 1);
    this.#inodes.push(inodeHash(reader.words, reader.statAt) * CHUNKS + this.chunks - 1);
  }

  /** All entries are in. */
  close(): void {
    this.#inodes.values.sort();
    const hashes = this.#hashes.values;
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(hashes.length * 2 + 2)));
    for (let i = 0; i < hashes.length; i++) {
      let slot = hashes[i]! % this.#table.length;
      while (this.#table[slot] !== 0) slot = (slot + 1) % this.#table.length;
      this.#table[slot] = i + 1;
    }
  }

  get chunks(): number {
    return this.#offsets.length;
  }

  get directories(): number {
    return this.#firsts.length;
  }

  /** Undefined after the last one. */
  offset(chunk: number): number | undefined {
    return this.#offsets.values[chunk];
  }

  /** The chunks of a directory: from the first one of it up to that of the next. */
  firstChunk(directory: number): number {
    return directory < this.directories ? this.#firsts.values[directory]! : this.chunks;
  }

  /** Numbers of the directories that may have this path. */
  *directoriesOf(path: TreePath): Generator<number, void> {
    const hash = pathHash(path);
    const table = this.#table;
    for (let slot = hash % table.length; table[slot] !== 0; slot = (slot + 1) % table.length) {
      const directory = table[slot]! - 1;
      if (this.#hashes.values[directory] === hash) yield directory;
    }
  }

  /** Numbers of the chunks that may hold entries of an inode, each once. */
  chunksOf(inode: number): number[] {
    const values = this.#inodes.values;
    const from = inode * CHUNKS;
    let [low, high] = [0, values.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (values[middle]! < from) low = middle + 1;
      else high = middle;
    }
    const chunks = new Set<number>();
    for (; low < values.length && values[low]! < from + CHUNKS; low++) chunks.add(values[low]! - from);
    return [...chunks];
  }
}
