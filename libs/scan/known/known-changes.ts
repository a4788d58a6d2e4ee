import { TmError } from '../../model/errors.ts';
import type { TreePath } from '../../model/tree-path.ts';
import { S_IFDIR } from '../../posix/index.ts';
import type { NewState } from '../port.ts';
import { fileType, STAT_WORDS, sameInode } from '../stat-record.ts';
import type { StateCursor, StateSink } from '../state-cursor.ts';
import { HASH_BYTES, LASTING_FLAGS, RESULT_WORDS, StateFlag, type StateIdentity } from '../state-format.ts';
import type { LoggedEntry } from './change-log.ts';
import { RECORD_WORDS } from './overlay.ts';
import { countEntry, noTotals, type TreeTotals } from './state-index.ts';

const ALL_FLAGS = ~0;
/** Of an entry that needs no place in the changes. */
const NOWHERE = -1;

/** What is known once a backup is committed: whoever has lent the changes takes them in. */
export interface ChangesOwner {
  /** Makes them durable beside the state. */
  log(identity: StateIdentity, entries: Iterable<LoggedEntry>): void;
  /** They hold from now on: as of the backup that was logged, or still as of the base. */
  apply(changes: KnownChanges): void;
  /** What was logged is of a backup that failed, or that may have. */
  drop(outcome: 'failed' | 'unknown'): void;
}

/**
 * What one backup changes in a known state: the entries that it has compared and that differ. `cursor` is the one
 * that comparisons are made with: where an entry has a hash, the cursor's present entry is its last version.
 */
export class KnownChanges implements NewState, StateSink {
  readonly #owner: ChangesOwner;
  readonly #cursor: StateCursor;
  #dir: TreePath = Buffer.alloc(0);
  readonly #dirs: TreePath[] = [];
  readonly #names: Buffer[] = [];
  #words = new Int32Array(64 * RECORD_WORDS);
  #bytes = Buffer.from(this.#words.buffer);
  /** Entries that are as they were, so far. */
  readonly #same = new Set<number>();
  /** Entries that were the same directory before. */
  readonly #sameDirectories = new Set<number>();
  /** Of the last versions of all entries in here. */
  readonly #before = noTotals();

  constructor(owner: ChangesOwner, cursor: StateCursor) {
    this.#owner = owner;
    this.#cursor = cursor;
  }

  enter(dir: TreePath): void {
    if (!this.#dir.equals(dir)) this.#dir = Buffer.from(dir);
  }

  append(name: Buffer, stat: Int32Array, statAt: number, flags: number, hash?: Buffer): number {
    const handle = this.#add(this.#dir, name, flags, hash ? this.#cursor : undefined);
    this.#words.set(stat.subarray(statAt, statAt + STAT_WORDS), handle * RECORD_WORDS + RESULT_WORDS);
    hash?.copy(this.#bytes, handle * RECORD_WORDS * 4 + 4);
    if (hash) this.#compareDirectory(handle);
    return handle;
  }

  appendKnown(name: Buffer, stat: Int32Array, statAt: number, flags: number, known: StateCursor): number {
    const isSame = flags === known.flags && equalStat(stat, statAt, known);
    const isDirectory = fileType(stat, statAt) === S_IFDIR;
    if (isSame && !isDirectory) return NOWHERE;
    const handle = this.append(name, stat, statAt, flags, known.hash);
    if (isSame) this.#same.add(handle);
    return handle;
  }

  copy(known: StateCursor, flags = 0): number {
    return this.appendKnown(known.name, known.words, known.statAt, known.flags | flags, known);
  }

  /** The cursor's present entry is gone. */
  gone(dir: TreePath, name: Buffer): void {
    this.#add(dir, Buffer.from(name), StateFlag.void, this.#cursor);
  }

  /** What a work item of `handle` was before: a directory with the same inode. */
  isSameDirectory(handle: number): boolean {
    return this.#sameDirectories.has(handle);
  }

  patch(handle: number, result: { readonly hash: Buffer; readonly trusted: boolean }): void {
    this.#update(handle, LASTING_FLAGS, result.trusted ? 0 : StateFlag.untrusted);
    result.hash.copy(this.#bytes, handle * RECORD_WORDS * 4 + 4);
  }

  void(handle: number): void {
    this.#update(handle, 0, StateFlag.void);
  }

  distrust(handle: number): void {
    this.#update(handle, ALL_FLAGS, StateFlag.untrusted);
  }

  markMountpoint(handle: number): void {
    this.#update(handle, ALL_FLAGS, StateFlag.mountpoint);
  }

  /** Whatever reading it says: the next comparison has it read again. */
  keepUntrusted(handle: number): void {
    this.#update(handle, ALL_FLAGS, StateFlag.racy);
  }

  hashOf(handle: number): Buffer {
    const at = handle * RECORD_WORDS * 4 + 4;
    return Buffer.from(this.#bytes.subarray(at, at + HASH_BYTES));
  }

  finish(identity: StateIdentity): void {
    this.#owner.log(identity, this.entries());
  }

  commit(): void {
    this.#owner.apply(this);
  }

  leave(): void {
    this.#owner.drop('unknown');
  }

  abandon(): void {
    this.#owner.drop('failed');
  }

  /** Those that differ, in the order in which they were found; gone ones are void. */
  *entries(): Generator<LoggedEntry, void> {
    for (let handle = 0; handle < this.#names.length; handle++) {
      if (this.#same.has(handle)) continue;
      const [dir, name] = [this.#dirs[handle]!, this.#names[handle]!];
      yield { dir, name, words: this.#words, at: handle * RECORD_WORDS };
    }
  }

  /** Makes a tree's totals those after the changes. */
  countInto(totals: TreeTotals): void {
    totals.files -= this.#before.files;
    totals.directories -= this.#before.directories;
    totals.others -= this.#before.others;
    totals.bytes -= this.#before.bytes;
    for (let at = 0; at < this.#names.length * RECORD_WORDS; at += RECORD_WORDS) {
      if ((this.#words[at]! & StateFlag.void) === 0) countEntry(totals, this.#words, at + RESULT_WORDS, 1);
    }
  }

  #add(dir: TreePath, name: Buffer, flags: number, before: StateCursor | undefined): number {
    const handle = this.#names.push(Buffer.from(name)) - 1;
    this.#dirs.push(dir);
    if ((handle + 1) * RECORD_WORDS > this.#words.length) this.#grow();
    this.#words[handle * RECORD_WORDS] = flags;
    if (before) countEntry(this.#before, before.words, before.statAt, 1);
    return handle;
  }

  #grow(): void {
    const grown = new Int32Array(this.#words.length * 2);
    grown.set(this.#words);
    this.#words = grown;
    this.#bytes = Buffer.from(grown.buffer);
  }

  #compareDirectory(handle: number): void {
    const at = handle * RECORD_WORDS + RESULT_WORDS;
    const { words, statAt } = this.#cursor;
    if (fileType(this.#words, at) !== S_IFDIR || fileType(words, statAt) !== S_IFDIR) return;
    if (sameInode(this.#words, at, words, statAt)) this.#sameDirectories.add(handle);
  }

  #update(handle: number, keep: number, add: number): void {
    if (handle === NOWHERE) throw new TmError('TM1099', 'an entry that was left out is to be changed');
    const at = handle * RECORD_WORDS;
    this.#words[at] = (this.#words[at]! & keep) | add;
    this.#same.delete(handle);
  }
}

function equalStat(stat: Int32Array, statAt: number, known: StateCursor): boolean {
  for (let i = 0; i < STAT_WORDS; i++) if (stat[statAt + i] !== known.words[known.statAt + i]) return false;
  return true;
}
