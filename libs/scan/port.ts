import type { TreePath } from '../model/tree-path.ts';
import type { StateIdentity } from './state-format.ts';
import type { ScanStep, ScanTotals } from './steps.ts';

/** Where a backup's changes come from: a walk (`Scan`), or what a watch has found dirty. Pulled by its one caller. */
export interface ScanSource {
  /** Throws TM1011 (out of descriptors or memory) and TM1012 (the old state is damaged): then it is of no use. */
  next(): ScanStep;
  /** The batch's items were read: its directories may be closed. */
  release(batchId: number): void;
  readonly totals: Readonly<ScanTotals>;
  /** Sum of the hashes of all entries that were kept, of which no step tells more; 32 bytes. For fulls only. */
  keptDigest(): Buffer;
  /** See root-check; to be asked after the first step. */
  rootHint(): string;
  /** Where it is at present; for progress. */
  readonly directory: TreePath;
  /** Closes all descriptors, also those of batches that were not released: their readers must have stopped. */
  close(): void;
}

/** What the agent will know of the source once the backup is committed. Work items name their entries by handles. */
export interface NewState {
  /** An entry was read: its hash, and whether the next backup may take it for unchanged. */
  patch(handle: number, result: { readonly hash: Buffer; readonly trusted: boolean }): void;
  /** An entry turned out to be no part of the backup. */
  void(handle: number): void;
  /** All patches are in: makes it durable, valid for the backup `identity` and no other. */
  finish(identity: StateIdentity): void;
  /** The backup was committed. */
  commit(): void;
  /** The backup may still turn out to be committed: the state counts then, and only then. */
  leave(): void;
  /** The backup failed. */
  abandon(): void;
}
