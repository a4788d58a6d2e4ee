import { createHash } from 'node:crypto';
import type { BackupKind } from '../model/label.ts';

export type JobReason = 'first' | 'schedule' | 'after-full' | 'manual';
export type JobState = 'waiting' | 'running' | 'done' | 'failed';

/** A backup that is to be made: what the queue keeps and an agent gets. */
export interface DueJob {
  /** Of slot and attempt; whoever plans the same makes the same. */
  readonly id: string;
  /** The source's uid, and where it lies. */
  readonly source: string;
  readonly agent: string;
  /** Absolute path, raw bytes in base64. */
  readonly root: string;
  readonly kind: BackupKind;
  readonly reason: JobReason;
  /** (source, kind, due time): what the job fulfils. Attempts of one slot share it. */
  readonly slot: string;
  /** ISO 8601. */
  readonly dueAt: string;
  /** From 1. */
  readonly attempt: number;
  readonly excludes: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  /** As of the command `backup`; not there: false. */
  readonly oneFileSystem?: boolean | undefined;
  readonly acceptRoot?: boolean | undefined;
}

export interface JobInfo extends DueJob {
  readonly state: JobState;
  /** By the scheduler's clock. */
  readonly offeredAt: Date;
  /** By the clock of whoever ended it; undefined before. */
  readonly endedAt: Date | undefined;
  /** Code of what went wrong. */
  readonly failure: string | undefined;
  /** The backup that it made, as the agent told. */
  readonly backup: string | undefined;
}

/** How often a slot is tried before the next one is waited for. */
export const MAX_ATTEMPTS = 4;

const FIRST_BACKOFF_MS = 5 * 60_000;
const BACKOFF_FACTOR = 3;

/** How long after its failure an attempt is followed by the next: 5, 15, 45 min. */
export const backoffOf = (attempt: number): number => FIRST_BACKOFF_MS * BACKOFF_FACTOR ** (attempt - 1);

/** A UUID made of slot and attempt. */
export function jobId(slot: string, attempt: number): string {
  const hex = createHash('sha256').update(`${slot}\0${attempt}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Ids of all attempts that a slot may have. */
export const jobIdsOf = (slot: string): string[] =>
  Array.from({ length: MAX_ATTEMPTS }, (_, i) => jobId(slot, i + 1));
