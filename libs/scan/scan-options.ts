import type { TreePath } from '../model/tree-path.ts';
import type { ExcludeRules } from './excludes.ts';
import type { EmitLimits } from './outbox.ts';
import type { StateSink } from './state-cursor.ts';
import type { StateReader } from './state-reader.ts';
import type { StateWriter } from './state-writer.ts';

/** A directory that is never part of a source: the home, a store. */
export interface SkippedDirectory {
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
}

/** Some entries of a source; the root has an empty name. */
export interface EntrySet {
  has(dir: TreePath, name: Buffer): boolean;
}

/** What decides on an entry. */
export interface ComparisonOptions {
  /** The new state; `finish` is the caller's, when all work is patched. */
  readonly stateWriter: StateSink;
  /** A full backup: every entry is work, the state only tells what is gone. */
  readonly readAll: boolean;
  /** Entries that are work although they are unchanged: what the store holds of them is damaged. */
  readonly reread?: EntrySet | undefined;
  /** Excluded paths that the base holds are gone. */
  readonly excludes: ExcludeRules;
  /** Directories on other file systems than the root's are entries, but empty. */
  readonly oneFileSystem: boolean;
  readonly skip: readonly SkippedDirectory[];
  /** When the scan began, ns since 1970, taken before anything is read. */
  readonly startedAt: bigint;
  /** How far timestamps of files may lag behind the clock: 10 ms when not given. */
  readonly clockGranularityNs?: number;
  /** Finds entries that came along with their directory. */
  readonly moved?: MovedFinder | undefined;
}

/** Where an entry was at the base, with the hash that it had there. */
export interface MovedFrom {
  readonly dir: TreePath;
  readonly hash: Buffer;
}

/** Finds what came by the rename of a directory. */
export interface MovedFinder {
  /** Where a directory was that is found at `path` now. `parent`: where the one that it is in was, if that moved. */
  directory(path: TreePath, inode: bigint, parent: TreePath | undefined): TreePath | undefined;
  /** The entry that is known under this name in another directory, where it is the same file and unchanged. */
  entry(dir: TreePath, name: Buffer, stat: Int32Array): MovedFrom | undefined;
}

export interface ScanOptions extends ComparisonOptions {
  /** A descriptor of the root; it stays the caller's. */
  readonly rootFd: number;
  readonly stateWriter: StateWriter;
  /** For messages. */
  readonly rootPath: Buffer;
  /** State as of the base; undefined when there is none, then every entry is new. Stays the caller's. */
  readonly state: StateReader | undefined;
  readonly limits?: EmitLimits;
}
