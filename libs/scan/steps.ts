import type { TreePath } from '../model/tree-path.ts';
import type { MovedFrom } from './scan-options.ts';

/** An entry to be read: it is new, it differs from what the state says of it, or everything is read. */
export interface WorkItem {
  /** For StateWriter: `patch` when it was read or stays as it was, `void` when it is gone and never was there. */
  readonly handle: number;
  /** Empty for the root. */
  readonly name: Buffer;
  /** The first 152 bytes of its struct statx, as the walk found it. */
  readonly stat: Buffer;
  /** Of a file, in bytes; else 0. */
  readonly size: number;
  /** Hash of the entry in the base; undefined when it isn't there. */
  readonly previousHash: Buffer | undefined;
  /** Where it was before its directory was renamed; it is unchanged since and need not be read. */
  readonly from?: MovedFrom | undefined;
}

export interface WorkGroup {
  /** The items' directory, open until the batch is released. An item's name may be another file by now. */
  readonly dirFd: number;
  readonly dir: TreePath;
  readonly items: WorkItem[];
}

export interface WorkBatch {
  readonly id: number;
  readonly groups: readonly WorkGroup[];
  readonly count: number;
  /** Sum of the items' sizes. */
  readonly bytes: number;
}

export interface GoneEntry {
  readonly dir: TreePath;
  readonly name: Buffer;
  /** Hash of the entry in the base. */
  readonly hash: Buffer;
}

/** Why an entry is reported. */
export interface Reason {
  /** Number of an error code: 1110 for TM1110. */
  readonly code: number;
  /** For people: what the system said. */
  readonly message: string;
}

export interface ScanEntry extends Reason {
  readonly dir: TreePath;
  readonly name: Buffer;
}

/**
 * What a scan has found; a path is in at most one of work, gone and kept.
 * - kept: could not be read; its last version and all that is known below it stay. It may have no last version.
 * - note: to be reported, without effect on the backup's entries: sockets, paths that are too long, directories
 *   that became unreadable after they were given out as work (what is known below them stays).
 * - progress: nothing but an occasion for the caller to let other things run.
 */
export type ScanStep =
  | { readonly type: 'work'; readonly batch: WorkBatch }
  | { readonly type: 'gone'; readonly entries: readonly GoneEntry[] }
  | { readonly type: 'kept' | 'note'; readonly entries: readonly ScanEntry[] }
  | { readonly type: 'progress' }
  | { readonly type: 'end' };

export interface ScanTotals {
  /** Of the tree as it is now, what was kept included. */
  files: number;
  directories: number;
  others: number;
  /** Sum of the sizes of all files. */
  bytes: number;
  /** Entries that need no reading. */
  unchanged: number;
}
