import { S_IFDIR, Stat, statxAt } from '../posix/index.ts';
import { type Comparison, isMountBelow, isSkipped } from './comparison.ts';
import type { WalkedDirectory } from './directory-stack.ts';
import type { NameList } from './name-list.ts';
import type { OpenDirectory } from './open-directory.ts';
import type { Outbox } from './outbox.ts';
import type { ScanOptions } from './scan-options.ts';
import { fileType, isRecordOf, STAT_WORDS, wordsOf } from './stat-record.ts';
import { RESULT_BYTES, RESULT_WORDS } from './state-format.ts';
import type { ReadChunk, StateReader } from './state-reader.ts';
import { Visit } from './subdirectories.ts';

/**
 * Settles chunks of the state as a whole where the directory holds the same names and nothing tells of a change: the
 * most frequent case by far. Whatever asks for more than a look, to the last bit of a stat record, is left to the
 * comparison of single entries.
 */
export class SameChunks {
  readonly #options: ScanOptions;
  readonly #state: StateReader;
  readonly #outbox: Outbox;
  readonly #comparison: Comparison;
  readonly #isUsed: boolean;
  readonly #stat = new Stat();
  readonly #statWords = wordsOf(this.#stat);

  constructor(options: ScanOptions, state: StateReader, outbox: Outbox, comparison: Comparison) {
    this.#options = options;
    this.#state = state;
    this.#outbox = outbox;
    this.#comparison = comparison;
    this.#isUsed = !options.readAll && !options.reread;
  }

  /** How many names from position `first` on were settled, with the state's chunk that holds them; 0: look at one. */
  settle(directory: WalkedDirectory, open: OpenDirectory, names: NameList, first: number): number {
    const { stateWriter } = this.#options;
    const chunk = this.#state.chunk;
    if (!chunk || !this.#isUsed || directory.leavesOut || !stateWriter.takesChunks) return 0;
    if (!hasNoFlags(chunk) || !isNamed(chunk, names, first)) return 0;
    if (!this.#isUnchanged(chunk, directory, open, names, first)) return 0;
    this.#keep(chunk, directory, names, first);
    this.#state.skipChunk();
    return chunk.count;
  }

  #isUnchanged(
    { words, statAt, count }: ReadChunk,
    directory: WalkedDirectory,
    open: OpenDirectory,
    names: NameList,
    first: number,
  ): boolean {
    for (let i = 0, at = statAt; i < count; i++, at += STAT_WORDS) {
      names.select(first + i);
      if (statxAt(open.fd, names.packed, names.start, this.#stat) < 0) return false;
      if (!isRecordOf(this.#statWords, words, at)) return false;
      if (fileType(words, at) === S_IFDIR && !this.#isOrdinary(directory)) return false;
    }
    return true;
  }

  /** Of the directory that was just looked at. */
  #isOrdinary(parent: WalkedDirectory): boolean {
    const stat = this.#stat;
    const isOnSame = stat.devMajor === parent.devMajor && stat.devMinor === parent.devMinor;
    return isOnSame && !isMountBelow(parent, stat) && !isSkipped(this.#options.skip, stat);
  }

  #keep(chunk: ReadChunk, directory: WalkedDirectory, names: NameList, first: number): void {
    const { words, statAt, count } = chunk;
    const handle = this.#options.stateWriter.copyChunk(chunk);
    for (let i = 0, at = statAt; i < count; i++, at += STAT_WORDS) {
      this.#comparison.count(words, at);
      if (fileType(words, at) !== S_IFDIR) continue;
      names.select(first + i);
      directory.subdirectories.push(names.name, Visit.walk, false, handle + i * RESULT_BYTES);
    }
    this.#comparison.totals.unchanged += count;
    this.#outbox.looked(count);
  }
}

function hasNoFlags({ words, resultAt, count }: ReadChunk): boolean {
  let flags = 0;
  for (let i = 0, at = resultAt; i < count; i++, at += RESULT_WORDS) flags |= words[at]!;
  return flags === 0;
}

/** Whether the names from position `first` on are those of the chunk. */
function isNamed({ bytes, count, lengthsAt, namesAt }: ReadChunk, names: NameList, first: number): boolean {
  if (first + count > names.count) return false;
  const listed = names.bytes;
  for (let i = 0, at = namesAt; i < count; i++) {
    names.select(first + i);
    const { start } = names;
    const length = bytes[lengthsAt + i]!;
    if (names.end - start !== length) return false;
    for (let j = 0; j < length; j++, at++) if (bytes[at] !== listed[start + j]) return false;
  }
  return true;
}
