import { setImmediate } from 'node:timers/promises';
import { TmError } from '../../model/errors.ts';
import { joinPath, type TreePath } from '../../model/tree-path.ts';
import { hashOfInode, inodeHash, inodeOf } from '../stat-record.ts';
import { RESULT_WORDS, StateFlag, type StateIdentity } from '../state-format.ts';
import { StateWriter } from '../state-writer.ts';
import {
  appendSegment,
  cutLog,
  encodeSegment,
  type LoggedEntry,
  type LogSegment,
  segmentEntries,
  segmentsBetween,
} from './change-log.ts';
import { type ChangesOwner, KnownChanges } from './known-changes.ts';
import { KnownCursor } from './known-cursor.ts';
import { fromKey, Overlay } from './overlay.ts';
import { StateChunks } from './state-chunks.ts';
import { countEntry, type TreeTotals } from './state-index.ts';

/** What may lie over the state file before it is written anew: entries in memory, and bytes of the log. */
const MAX_OVER = 50_000;
const MAX_LOG_BYTES = 32 * 1024 * 1024;
/** Entries that are written before others get their turn in this process. */
const AT_ONCE = 5000;

/**
 * The agent's last known state of a source, for looks at any of its entries, over many backups: the state file, and
 * over it what these backups have changed, which is in memory and in a log beside the file. One process has it open.
 */
export class KnownState implements ChangesOwner {
  readonly #path: string;
  #file: StateChunks;
  #over = new Overlay();
  #identity: StateIdentity;
  #totals: TreeTotals;
  #logBytes: number;
  /** A backup whose changes are in the log, and where they begin there. */
  #logged: { readonly identity: StateIdentity; readonly at: number } | undefined;
  /** What was logged may hold or not: nothing is known until it is opened again. */
  #isUnsure = false;

  private constructor(path: string, file: StateChunks, segments: readonly LogSegment[]) {
    this.#path = path;
    this.#file = file;
    this.#identity = segments.at(-1)?.to ?? file.header;
    this.#totals = { ...file.index.totals };
    this.#logBytes = segments.at(-1)?.end ?? 0;
    for (const segment of segments) this.#replay(segment);
  }

  /** As of the backup `identity`; undefined where the file, or the log that leads to it, is lost or damaged. */
  static open(stateFile: string, identity: StateIdentity): KnownState | undefined {
    const file = StateChunks.open(stateFile);
    if (!file) return undefined;
    const segments = segmentsBetween(stateFile, file.header, identity);
    if (segments) return new KnownState(stateFile, file, segments);
    file.close();
    return undefined;
  }

  get identity(): StateIdentity {
    return this.#identity;
  }

  /** Of the whole tree. */
  get totals(): Readonly<TreeTotals> {
    return this.#totals;
  }

  /** Over what is known now; of no use after the next `apply`. */
  cursor(): KnownCursor {
    if (this.#isUnsure) throw new TmError('TM1012', 'a backup may or may not have been committed');
    return new KnownCursor(this.#file, this.#over);
  }

  /** What a backup changes, compared by `cursor`. One at a time. */
  changes(cursor: KnownCursor): KnownChanges {
    return new KnownChanges(this, cursor);
  }

  /** All known paths of an inode, on whatever device. */
  pathsOf(inode: bigint): TreePath[] {
    const cursor = this.cursor();
    const hash = hashOfInode(Number(BigInt.asIntN(32, inode)), Number(BigInt.asIntN(32, inode >> 32n)));
    const isIt = (path: TreePath) => cursor.seek(path) && inodeOf(cursor.words, cursor.statAt) === inode;
    const candidates = new Map<string, TreePath>();
    for (const path of [...this.#inFile(hash), ...this.#over.pathsOf(hash).map(fromKey)])
      candidates.set(path.toString('latin1'), path);
    return [...candidates.values()].filter(isIt);
  }

  *#inFile(hash: number): Generator<TreePath, void> {
    for (const number of this.#file.index.chunksOf(hash)) {
      const chunk = this.#file.chunk(number);
      for (let i = 0; i < chunk.count; i++) {
        if (inodeHash(chunk.words, chunk.statAt(i)) === hash) yield joinPath(chunk.dir, chunk.name(i));
      }
    }
  }

  log(identity: StateIdentity, entries: Iterable<LoggedEntry>): void {
    const segment = encodeSegment(this.#identity, identity, entries);
    const at = appendSegment(this.#path, segment, this.#logBytes);
    this.#logged = { identity, at };
    this.#logBytes = at + segment.length;
  }

  apply(changes: KnownChanges): void {
    changes.countInto(this.#totals);
    for (const entry of changes.entries()) this.#put(entry);
    if (this.#logged) this.#identity = this.#logged.identity;
    this.#logged = undefined;
  }

  drop(outcome: 'failed' | 'unknown'): void {
    if (!this.#logged) return;
    if (outcome === 'unknown') this.#isUnsure = true;
    else {
      cutLog(this.#path, this.#logged.at);
      this.#logBytes = this.#logged.at;
    }
    this.#logged = undefined;
  }

  /** So much lies over the state file that it should be written anew. */
  get isHeavy(): boolean {
    return this.#over.size > MAX_OVER || this.#logBytes > MAX_LOG_BYTES;
  }

  /**
   * Writes the state file anew, with all changes in it, in turns; between two backups. A crash in between loses
   * nothing: file and log lead to the same.
   */
  async compact(): Promise<void> {
    const turns = this.#writeTo(this.#path);
    while (!turns.next().done) await setImmediate();
    const file = StateChunks.open(this.#path);
    if (!file) throw new TmError('TM1012', 'it can not be read back');
    this.#file.close();
    this.#file = file;
    this.#over = new Overlay();
    cutLog(this.#path, 0);
    this.#logBytes = 0;
  }

  /** Writes a state file as of now, at once. */
  writeTo(path: string): void {
    const turns = this.#writeTo(path);
    while (!turns.next().done);
  }

  *#writeTo(path: string): Generator<void, void> {
    const writer = new StateWriter(path, this.#file.header.startedAt);
    try {
      yield* this.#copyTo(writer);
      writer.finish(this.#identity);
      writer.commit();
    } catch (error) {
      writer.abandon();
      throw error;
    }
  }

  *#copyTo(writer: StateWriter): Generator<void, void> {
    const cursor = this.cursor();
    let copied = 0;
    for (cursor.below(Buffer.alloc(0)); !cursor.done; cursor.advance()) {
      writer.enter(cursor.dir);
      writer.copy(cursor);
      if (++copied % AT_ONCE === 0) yield;
    }
  }

  #replay(segment: LogSegment): void {
    const cursor = this.cursor();
    for (const entry of segmentEntries(segment)) {
      if (cursor.seek(joinPath(entry.dir, entry.name)))
        countEntry(this.#totals, cursor.words, cursor.statAt, -1);
      this.#put(entry);
      if (!isGone(entry)) countEntry(this.#totals, entry.words, entry.at + RESULT_WORDS, 1);
    }
  }

  #put(entry: LoggedEntry): void {
    if (isGone(entry)) this.#over.remove(entry.dir, entry.name);
    else this.#over.put(entry.dir, entry.name, entry.words, entry.at);
  }

  close(): void {
    this.#file.close();
  }
}

const isGone = ({ words, at }: LoggedEntry): boolean => (words[at]! & StateFlag.void) !== 0;
