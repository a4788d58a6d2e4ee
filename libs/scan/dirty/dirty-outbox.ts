import type { TreePath } from '../../model/tree-path.ts';
import { S_IFDIR, S_IFMT, STATX_OFFSETS } from '../../posix/index.ts';
import type { KnownChanges } from '../known/known-changes.ts';
import type { KnownCursor } from '../known/known-cursor.ts';
import { toKey } from '../known/overlay.ts';
import type { OpenDirectory } from '../open-directory.ts';
import { type EmitLimits, Outbox } from '../outbox.ts';
import { fileType, inodeOf, linkCount } from '../stat-record.ts';
import type { Reason, WorkItem } from '../steps.ts';
import { pathOf } from './looks.ts';

const UNSETTLED: Reason = { code: 1116, message: 'it is still being written' };

/**
 * Takes down what is gone, and the inodes whose other names may have changed as well: of entries that differ, both
 * the one that is there and the one that was.
 */
export class DirtyOutbox extends Outbox {
  readonly #cursor: KnownCursor;
  readonly #changes: KnownChanges;
  readonly #unsettled: ReadonlySet<string>;
  readonly #inodes = new Set<bigint>();
  readonly #known = new Set<bigint>();

  constructor(
    limits: EmitLimits,
    cursor: KnownCursor,
    changes: KnownChanges,
    unsettled: readonly TreePath[],
  ) {
    super(limits);
    this.#cursor = cursor;
    this.#changes = changes;
    this.#unsettled = new Set(unsettled.map(toKey));
  }

  override work(directory: OpenDirectory, dir: TreePath, item: WorkItem): void {
    super.work(directory, dir, item);
    if (item.previousHash) this.#noteKnown();
    const isDirectory = (item.stat.readUInt16LE(STATX_OFFSETS.mode) & S_IFMT) === S_IFDIR;
    if (!isDirectory && item.stat.readUInt32LE(STATX_OFFSETS.nlink) > 1)
      this.#note(item.stat.readBigUInt64LE(STATX_OFFSETS.ino));
    if (this.#unsettled.size === 0 || !this.#unsettled.has(toKey(pathOf(dir, item.name)))) return;
    this.#changes.keepUntrusted(item.handle);
    this.note(dir, item.name, UNSETTLED);
  }

  /** Also of a directory that vanished after it was compared: it is in the changes already. */
  override gone(dir: TreePath, name: Buffer, hash: Buffer): void {
    super.gone(dir, name, hash);
    const { done, name: known, dir: knownIn } = this.#cursor;
    if (done || !known.equals(name) || !knownIn.equals(dir)) return;
    this.#changes.gone(dir, name);
    this.#noteKnown();
  }

  /** Inodes that were noted since it was asked last, each once. */
  takeInodes(): bigint[] {
    const inodes = [...this.#inodes];
    this.#inodes.clear();
    return inodes;
  }

  #noteKnown(): void {
    const { words, statAt } = this.#cursor;
    if (linkCount(words, statAt) > 1 && fileType(words, statAt) !== S_IFDIR)
      this.#note(inodeOf(words, statAt));
  }

  #note(inode: bigint): void {
    if (this.#known.has(inode)) return;
    this.#known.add(inode);
    this.#inodes.add(inode);
  }
}
