import type { CollectProblem, CollectProgress } from '../collect/collector.ts';
import type { BackupInfo } from '../model/backup.ts';
import type { BackupKind } from '../model/label.ts';
import type { GapReason } from '../watch/ledger-format.ts';
import type { EventSource } from '../watch/port.ts';
import type { Dirty } from './dirty.ts';

export interface Committed {
  readonly backup: BackupInfo;
  /** Label of a differential's baseline; null for a full. */
  readonly baseline: string | null;
}

/** What every backup of a watched source is told. */
export interface Taking {
  /** Reasons of the gaps that are open as it is opened, sorted. */
  readonly gaps: readonly GapReason[];
  readonly onProblem: (problem: CollectProblem) => void;
  readonly signal: AbortSignal;
}

/** A backup that somebody asked for. */
export interface Wish extends Pick<Taking, 'onProblem' | 'signal'> {
  readonly kind: BackupKind | undefined;
  readonly tags: Readonly<Record<string, string>>;
  /** Undefined: those that hold for the watch. */
  readonly excludes: readonly string[] | undefined;
  readonly oneFileSystem: boolean | undefined;
  readonly acceptRoot: boolean;
  readonly onProgress: (progress: CollectProgress) => void;
}

/**
 * Makes the backups of one source, one at a time: embedded or over services. Each throws where nothing was committed;
 * what it was to take has to be taken again then.
 */
export interface SourceBackups {
  /** Looks at the whole tree, metadata first. Undefined: nothing differs from the newest backup, nothing was committed. */
  reconcile(taking: Taking): Promise<Committed | undefined>;
  /**
   * Looks where it is dirty. Undefined as above. Throws TM1012 where it doesn't know enough to look at less than the
   * whole tree.
   */
  micro(dirty: Dirty, taking: Taking): Promise<Committed | undefined>;
  /** What was wished, by a look at the whole tree. */
  wished(wish: Wish, gaps: readonly GapReason[]): Promise<Committed>;
  close(): Promise<void>;
}

/** An event source that has started, with why it is this one. */
export interface Started {
  readonly source: EventSource;
  readonly reason: string;
}

/** Starts event sources on a root, again and again. */
export interface EventSources {
  /** Throws where the root is not there or can't be watched. */
  start(): Promise<Started>;
  /** Whether another kind of source would be chosen now. */
  hasBetter(kind: EventSource['kind']): boolean;
}

export type CommitReason = 'reconcile' | 'changes' | 'request';

/** What a monitor tells as it goes. None of these may throw. */
export interface MonitorEvents {
  /** A source has started and the first look at the whole tree is over. Once, and again with each new source. */
  watching(by: EventSource['kind'], reason: string): void;
  /** `gaps`: those that were open as the backup was opened. */
  committed(made: Committed, why: CommitReason, gaps: readonly GapReason[]): void;
  gap(gap: { readonly gap: number; readonly reason: GapReason }, state: 'opened' | 'closed'): void;
  problem(problem: CollectProblem): void;
  /** It goes on, and tries again in `retryMs`. */
  failed(error: unknown, retryMs: number): void;
  /** The age of the oldest change passed the limit, or is below it again. */
  recoveryPoint?(isPassed: boolean, ageMs: number): void;
}
