import type { BackupKind } from './label.ts';

export type BackupState = 'open' | 'sealed' | 'committing' | 'committed' | 'failed' | 'fenced' | 'expired';

/** Owner of a source's slot: the registry's generation in the store, and a count within it. */
export interface Epoch {
  readonly generation: number;
  readonly counter: number;
}

/** What a backup did, for people and for `summary`. Bytes are of file content. */
export interface BackupCounts {
  /** Files, directories and others in the tree as it is now. */
  readonly files: number;
  readonly directories: number;
  readonly others: number;
  /** Sum of the sizes of all files of the tree. */
  readonly bytes: number;
  /** Counted against the base, as the calculator found it. */
  readonly added: number;
  readonly changed: number;
  readonly metadata: number;
  readonly deleted: number;
  readonly unchanged: number;
  /** Content that the store lacked, before and after compression. */
  readonly newBytes: number;
  readonly storedBytes: number;
  /** Entries that could not be read and stay as they were, or that are flagged. */
  readonly problems: number;
}

export interface BackupInfo {
  readonly id: string;
  readonly sourceId: number;
  readonly seq: number;
  readonly epoch: Epoch;
  readonly kind: BackupKind;
  readonly label: string;
  /** Source seq of the full that a differential depends on; its own for a full. */
  readonly baselineSeq: number;
  /** Source seq of the newest backup when this one was opened; 0 when there was none. */
  readonly baseSeq: number;
  readonly state: BackupState;
  readonly openedAt: Date;
  readonly committedAt: Date | undefined;
  /** When the first and the last entry was read. */
  readonly readFrom: Date | undefined;
  readonly readTo: Date | undefined;
  readonly stateDigest: Buffer | undefined;
  readonly counts: BackupCounts | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly pinned: boolean;
  /**
   * Of a watched source: why changes may have gone unnoticed (libs/watch, GapReason) when the backup was opened, sorted;
   * none: nothing was missed. Undefined where nobody watched.
   */
  readonly gaps: readonly string[] | undefined;
  /** Why it failed, an error code. */
  readonly failure: string | undefined;
}
