import type { ErrorCode } from '../model/errors.ts';
import type { FrameKeys } from './frame-reader.ts';

export interface FolderIdentity {
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
}

/** What a thread that writes is made with. */
export interface WriterSetup extends FrameKeys {
  readonly dryRun: boolean;
  /** Directories that stand where something else belongs may go with all below them. */
  readonly delete: boolean;
  /** Changes are to be told one by one, not only counted. */
  readonly tellChanges: boolean;
  /** See BlockFetcher. */
  readonly readsAhead: number;
  /** Never written to or removed. */
  readonly forbidden: readonly FolderIdentity[];
}

/** Entries of one directory, none of them a directory: a body of RecordWriter. */
export interface EntryGroup {
  /** Open while the task runs; -1 in a dry run: the directory is not there yet. */
  readonly dirFd: number;
  /** This restore made the directory. */
  readonly fresh: boolean;
  readonly body: Uint8Array;
}

export interface EntriesTask {
  readonly kind: 'entries';
  readonly groups: readonly EntryGroup[];
}

/** A stretch of a large file, as pieces (`pieces.ts`). */
export interface StretchTask {
  readonly kind: 'compare' | 'write';
  /** To compare with, or to take equal blocks from; -1: none. */
  readonly localFd: number;
  /** To write to; -1: only compare. */
  readonly fd: number;
  readonly start: number;
  readonly end: number;
  readonly pieces: readonly {
    readonly offset: number;
    readonly length: number;
    readonly from: number;
    readonly block: { readonly id: Uint8Array; readonly length: number } | undefined;
  }[];
}

export type WriterTask = EntriesTask | StretchTask;

export type ChangeOp = 'added' | 'changed' | 'metadata' | 'deleted';

export interface Change {
  readonly op: ChangeOp;
  readonly dir: Uint8Array;
  readonly name: Uint8Array;
}

export interface Problem {
  readonly code: ErrorCode;
  readonly dir: Uint8Array;
  readonly name: Uint8Array;
  readonly message: string;
}

/** What became of an entry, for the other names of its link group. */
export const LinkOutcome = { kept: 1, written: 2, failed: 3 } as const;
export type LinkOutcome = (typeof LinkOutcome)[keyof typeof LinkOutcome];

export interface Counts {
  files: number;
  directories: number;
  others: number;
  bytes: number;
  added: number;
  changed: number;
  metadata: number;
  unchanged: number;
  deleted: number;
  ownersSkipped: number;
}

export const noCounts = (): Counts => ({
  files: 0,
  directories: 0,
  others: 0,
  bytes: 0,
  added: 0,
  changed: 0,
  metadata: 0,
  unchanged: 0,
  deleted: 0,
  ownersSkipped: 0,
});

export interface TaskResult {
  readonly counts: Counts;
  readonly problems: Problem[];
  readonly changes: Change[];
  readonly links: { readonly group: bigint; readonly outcome: LinkOutcome }[];
  /** Of 'compare': whether the stretch is as it should be. */
  equal: boolean;
}
