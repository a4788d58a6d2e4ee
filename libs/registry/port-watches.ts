import type { CommitRequest } from './port.ts';

/** A span in which changes of a watched source may have gone unnoticed; times by the clock of who watches. */
export interface WatchedGap {
  /** Its number in the ledger of who watches. */
  readonly gap: number;
  readonly reason: string;
  readonly openedAt: Date;
  /** From when on nothing was missed any more: when the reconcile that closed it began. Undefined while it is open. */
  readonly endedAt: Date | undefined;
  readonly closedAt: Date | undefined;
}

/** A stretch in which somebody watched; times as above. */
export interface WatchRun {
  readonly startedAt: Date;
  /** The last sign of life. */
  readonly seenAt: Date;
}

/** What who watches a source says of it, now and then. */
export interface WatchReport {
  /** Of event source, as libs/watch names it; undefined while there is none. */
  readonly kind: string | undefined;
  /** Of the monitor. */
  readonly state: string;
  /** Paths that wait to be taken. */
  readonly pending: number;
  /** Of the oldest change that no backup has yet, by the registry's clock; undefined: there is none. */
  readonly oldestChange: Date | undefined;
  /** Undefined while nobody watches. */
  readonly run: WatchRun | undefined;
  /** All that are open, and those that were closed lately. An open one of the registry that is missing here is closed. */
  readonly gaps: readonly WatchedGap[];
}

export interface WatchRow extends Pick<WatchReport, 'kind' | 'state' | 'pending' | 'oldestChange'> {
  /** When the last report came, by the registry's clock. */
  readonly seenAt: Date;
  /** The age of the oldest change is past the policy's limit, as the last event says. */
  readonly isExceeded: boolean;
  /** The oldest first, 16 at most. */
  readonly openGaps: readonly OpenGaps[];
}

/** Open gaps of one reason. */
export interface OpenGaps {
  readonly reason: string;
  /** Of the oldest one. */
  readonly since: Date;
  readonly count: number;
}

/** What happened in a period, oldest first. */
export interface WatchHistory {
  readonly runs: readonly WatchRun[];
  readonly gaps: readonly WatchedGap[];
  /** What ended by then is dropped; undefined: nothing is. */
  readonly forgottenUntil: Date | undefined;
}

/** So long ended runs and closed gaps are kept. */
export const HISTORY_DAYS = 400;

/** A source of which nobody has said anything for a while, and a change was waiting then. */
export interface SilentWatch {
  readonly sourceId: number;
  readonly oldestChange: Date;
}

/** Of all sources, for metrics. */
export interface WatchTotals {
  /** Whose watch was heard of within the last minute and a half. */
  readonly watched: number;
  /** Whose recovery point is past its limit. */
  readonly exceeded: number;
  /** With an open gap, by its reason. */
  readonly withGaps: ReadonlyMap<string, number>;
}

/** Who watches what, and what may have been missed. Nothing of it is in the store: a rebuild forgets it. */
export interface WatchesTable {
  /**
   * Idempotent. `now`: of the registry's clock, when the report came; at it open gaps that are missing are closed. Runs
   * and closed gaps of the source that ended HISTORY_DAYS before are dropped.
   */
  report(sourceId: number, report: WatchReport, now: Date): Promise<void>;
  /** Of those that were reported, by source. One query. */
  list(sourceIds: readonly number[]): Promise<Map<number, WatchRow>>;
  /** Runs and gaps that lie in the period in part or as a whole: of each the first `limit` of them. */
  history(sourceId: number, from: Date, to: Date, limit: number): Promise<WatchHistory>;
  /**
   * Notes whether the recovery point is past its limit, with the event in the same transaction. False, without one, where
   * that was noted before.
   */
  setExceeded(
    sourceId: number,
    isExceeded: boolean,
    event: CommitRequest['events'][number],
    now: Date,
  ): Promise<boolean>;
  /** Not heard of for `silenceSeconds`, not noted as past its limit. */
  silent(silenceSeconds: number): Promise<SilentWatch[]>;
  /**
   * Sources whose watch was not heard of for `silenceSeconds`, and of which a backup was opened after that and committed:
   * what waited then is in it. Only those with a change that waits, or past their limit.
   */
  caughtUp(silenceSeconds: number): Promise<number[]>;
  /** No change of theirs waits any more, where their watch has not been heard of meanwhile either. */
  forgetChanges(sourceIds: readonly number[], silenceSeconds: number): Promise<void>;
  totals(): Promise<WatchTotals>;
}
