import type { TreePath } from '../model/tree-path.ts';

/** An inode with several names (hard links), or one that has lost one. */
export interface SharedInode {
  /** As Stat.dev of libs/posix. */
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * An entry that may have changed, come or gone. Whoever resolves it looks at what is there now, and:
 * - where nothing is there, or no directory, all that was known below is gone;
 * - where a directory came in place of another one, it is a dirty subtree as well;
 * - other names of the inode that is there now (`shared`), and of the inode that the name led to when it was last
 *   read, may have changed as well: a write through one name concerns all.
 *
 * A limit, but not of fanotify since Linux 5.17: a hard link that is made, written through and gone or renamed before anybody
 * looks tells of its own name only, and nobody knows any more whose inode that was. A limit of all: so does a write
 * through a name outside of the root. Scans find both.
 */
export interface DirtyEntry {
  readonly path: TreePath;
  /**
   * Files that the name leads to, or has led to, which have other names too: one that is there at the time of the batch, and
   * others that had its name and live on.
   */
  readonly shared?: readonly SharedInode[];
  /** A directory in which names may have come and gone that are not reported: they are to be listed and compared. */
  readonly listing?: true;
}

/** Below it, and it itself, anything may have changed. */
export interface DirtySubtree {
  readonly path: TreePath;
  /**
   * `new`: it was not there or not watched before. `moved`: it came by a rename, so that whatever has inode, size
   * and times of a known file needn't be read again. `lost`: events were lost.
   */
  readonly reason: 'new' | 'moved' | 'lost';
}

/**
 * - `overflow`: events were lost; the root is in the same batch as a `lost` subtree.
 * - `watch-limit`: from here on not every directory is watched, until another source is started.
 * - `mount-changed`: a file system came or went below the root; where, is a dirty subtree. Ask `chooseSource` again.
 * The rest end the source: `root-deleted` (also: moved away), `root-replaced` (another directory has its name),
 * `unmounted`, `failed` (what the source stands on is gone), `closed` (by its owner).
 */
export type WatchState = 'overflow' | 'watch-limit' | 'mount-changed' | FinalState;
export type FinalState = 'root-deleted' | 'root-replaced' | 'unmounted' | 'failed' | 'closed';

/** What was noticed since the last batch. An entry is in it once, however often it changed. */
export interface WatchBatch {
  readonly entries: readonly DirtyEntry[];
  readonly subtrees: readonly DirtySubtree[];
  readonly states: readonly WatchState[];
}

/**
 * Watches one root. What happened before `start…` resolved may be missed, nothing after it: whoever scans starts the
 * source first. Whatever is reported is to be looked at after its batch was taken.
 */
export interface EventSource {
  readonly kind: 'fanotify' | 'inotify' | 'poll';
  /**
   * The next batch, as soon as there is anything in it; undefined when the source has ended and all was taken. Only
   * one call may wait. Nothing is lost between two calls: it gathers, up to `maxPending`.
   */
  next(): Promise<WatchBatch | undefined>;
  /** What happened before the call is told, or in the next batch. Who waits for a batch has been given it. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface WatchOptions {
  /** The open root. It is used at the start only and stays the caller's: kept open, it would keep the root mounted. */
  readonly rootFd: number;
  /** Absolute, where the root is found again. */
  readonly rootPath: Buffer;
  /** Subtrees that are not watched: home, store, registry. */
  readonly excluded?: readonly TreePath[];
  /** Paths that gather while nobody takes them; one more makes it an overflow. */
  readonly maxPending?: number;
}
