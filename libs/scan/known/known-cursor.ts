import { baseName, isWithin, parentPath, ROOT, type TreePath } from '../../model/tree-path.ts';
import type { StateCursor } from '../state-cursor.ts';
import { HASH_BYTES, RESULT_WORDS } from '../state-format.ts';
import { fromKey, GONE, type Overlay, RECORD_WORDS, toKey } from './overlay.ts';
import type { StateChunk, StateChunks } from './state-chunks.ts';
import { countEntry, noTotals } from './state-index.ts';

const NO_WORDS = new Int32Array(RECORD_WORDS);

/** Where it is among the entries of one directory: in the file's chunks, and in what lies over them. */
interface Place {
  /** Chunk of the file and entry in it; the directory's chunks end at `chunkEnd`. */
  chunk: number;
  readonly chunkEnd: number;
  index: number;
  readonly over: readonly (readonly [string, number])[];
  overIndex: number;
}

/**
 * Entries of a known state: one, those of a directory, or those of a subtree; the file's, with what has changed since
 * over them. Nothing may change while it is in use.
 */
export class KnownCursor implements StateCursor {
  readonly isRebuilt: boolean;
  readonly #file: StateChunks;
  readonly #over: Overlay;
  /** Directories that are left: of the file up to #fileEnd, of the overlay up to #overEnd. */
  #fileNext = 0;
  #fileEnd = 0;
  #overNext = 0;
  #overEnd = 0;
  #within: TreePath = ROOT;
  #withinKey = '';
  #place: Place | undefined;
  #name: Buffer | undefined;
  #chunk: StateChunk | undefined;
  #index = 0;
  #serials = 0;

  /** Of all entries that it has moved on from. */
  readonly taken = noTotals();
  dir: TreePath = ROOT;
  dirSerial = 0;
  words: Int32Array = NO_WORDS;
  statAt = 0;
  resultAt = 0;

  constructor(file: StateChunks, over: Overlay) {
    this.#file = file;
    this.#over = over;
    this.isRebuilt = file.header.entries > 0 && file.header.startedAt === 0n;
  }

  get done(): boolean {
    return this.dirSerial === 0;
  }

  get flags(): number {
    return this.words[this.resultAt]!;
  }

  get name(): Buffer {
    return this.#name ?? this.#chunk!.name(this.#index);
  }

  get hash(): Buffer {
    const at = this.words.byteOffset + this.resultAt * 4 + 4;
    return Buffer.from(Buffer.from(this.words.buffer, at, HASH_BYTES));
  }

  compareName(other: Buffer, start: number, end: number): number {
    return this.name.compare(other, start, end);
  }

  /** To one entry; false where it isn't known, and then it is done. The next `advance` ends it. */
  seek(path: TreePath): boolean {
    this.#end();
    const record = this.#over.find(path);
    if (record === GONE) return false;
    const found = record === undefined ? this.#file.find(path) : undefined;
    if (record === undefined && !found) return false;
    this.dir = path.length === 0 ? ROOT : parentPath(path);
    this.dirSerial = ++this.#serials;
    if (found) this.#showFile(found.chunk, found.index);
    else this.#showOver(baseName(path), record!);
    return true;
  }

  /** To the first entry of a directory, and no further than its last one. */
  enter(dir: TreePath): void {
    this.#end();
    this.#open(dir, this.#file.directory(dir), this.#over.names(toKey(dir)));
    this.#next();
  }

  /** To the first entry of what lies below a path, and no further; of everything, the root first, for the root. */
  below(path: TreePath): void {
    this.#end();
    this.#fileNext = this.#file.directory(path) ?? this.#file.lowerBound(path);
    this.#fileEnd = this.#file.index.directories;
    const { directories } = this.#over;
    const key = toKey(path);
    this.#overNext = lowerBound(directories, key);
    this.#overEnd = directories.length;
    this.#within = path;
    this.#withinKey = key;
    this.#next();
  }

  advance(): void {
    if (!this.done) countEntry(this.taken, this.words, this.statAt, 1);
    this.#next();
  }

  #next(): void {
    for (;;) {
      if (this.#place && this.#nextHere(this.#place)) return;
      this.#place = undefined;
      if (!this.#nextDirectory()) {
        this.#end();
        return;
      }
    }
  }

  #end(): void {
    this.#place = undefined;
    this.#fileNext = this.#fileEnd = this.#overNext = this.#overEnd = 0;
    this.dirSerial = 0;
    this.dir = ROOT;
  }

  #open(dir: TreePath, directory: number | undefined, over: Place['over']): void {
    const { index } = this.#file;
    this.dir = Buffer.from(dir);
    this.dirSerial = ++this.#serials;
    const chunk = directory === undefined ? 0 : index.firstChunk(directory);
    const chunkEnd = directory === undefined ? 0 : index.firstChunk(directory + 1);
    this.#place = { chunk, chunkEnd, index: 0, over, overIndex: 0 };
  }

  #nextDirectory(): boolean {
    const inFile = this.#nextInFile();
    const over = this.#nextOver();
    if (!inFile && over === undefined) return false;
    const order = !inFile ? 1 : over === undefined ? -1 : Buffer.compare(inFile, fromKey(over));
    const directory = order <= 0 ? this.#fileNext++ : undefined;
    if (order >= 0) this.#overNext++;
    this.#open(
      inFile && order <= 0 ? inFile : fromKey(over!),
      directory,
      order >= 0 ? this.#over.names(over!) : [],
    );
    return true;
  }

  #nextInFile(): TreePath | undefined {
    if (this.#fileNext >= this.#fileEnd) return undefined;
    const dir = this.#file.pathOf(this.#fileNext);
    if (isWithin(dir, this.#within)) return dir;
    this.#fileEnd = 0;
    return undefined;
  }

  #nextOver(): string | undefined {
    if (this.#overNext >= this.#overEnd) return undefined;
    const dir = this.#over.directories[this.#overNext]!;
    if (isBelow(dir, this.#withinKey)) return dir;
    this.#overEnd = 0;
    return undefined;
  }

  /** To the next present entry of the directory; false when there is none. */
  #nextHere(place: Place): boolean {
    for (;;) {
      const chunk = this.#chunkAt(place);
      const over = place.over[place.overIndex];
      if (!chunk && !over) return false;
      const name = over && fromKey(over[0]);
      const order = !name ? -1 : !chunk ? 1 : Buffer.compare(chunk.name(place.index), name);
      const index = order <= 0 ? place.index++ : 0;
      if (order >= 0) {
        place.overIndex++;
        if (over![1] === GONE) continue;
        this.#showOver(name!, over![1]);
        return true;
      }
      if (chunk!.isVoid(index)) continue;
      this.#showFile(chunk!, index);
      return true;
    }
  }

  #chunkAt(place: Place): StateChunk | undefined {
    while (place.chunk < place.chunkEnd) {
      const chunk = this.#file.chunk(place.chunk);
      if (place.index < chunk.count) return chunk;
      place.chunk++;
      place.index = 0;
    }
    return undefined;
  }

  #showFile(chunk: StateChunk, index: number): void {
    this.#chunk = chunk;
    this.#index = index;
    this.#name = undefined;
    this.words = chunk.words;
    this.statAt = chunk.statAt(index);
    this.resultAt = chunk.resultAt(index);
  }

  #showOver(name: Buffer, record: number): void {
    this.#name = name;
    this.words = this.#over.words;
    this.resultAt = record * RECORD_WORDS;
    this.statAt = this.resultAt + RESULT_WORDS;
  }
}

const isBelow = (key: string, ancestor: string): boolean =>
  ancestor === '' || key === ancestor || key.startsWith(`${ancestor}\0`);

function lowerBound(sorted: readonly string[], key: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
