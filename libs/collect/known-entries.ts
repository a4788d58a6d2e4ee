import type { WorkBatch, WorkItem } from '../scan/index.ts';
import type { TaskResult } from './protocol.ts';

/** What need not be read: encoded as it is published. */
export interface KnownEntry {
  readonly state: Buffer;
  readonly hints: Buffer;
}

export interface Resumed {
  readonly files: number;
  readonly bytes: number;
  /** When the earliest of the attempts began whose reading is used, ms since 1970. */
  readonly since: number;
}

export const NOTHING_RESUMED: Resumed = { files: 0, bytes: 0, since: Number.POSITIVE_INFINITY };

/** Knows entries that a backup has to publish and need not read. */
export interface KnownEntries {
  /** What was read by an earlier attempt, and used. */
  readonly resumed: Resumed;
  /**
   * Which of the batch's items need no reading. Batches have to come in the order of the scan. `missing` is asked for
   * blocks that may be gone, as BlockIntake.missing.
   */
  known(
    batch: WorkBatch,
    missing: (ids: Buffer) => Promise<Uint8Array>,
  ): Promise<ReadonlyMap<WorkItem, KnownEntry>>;
  /**
   * The records of a task whose blocks are durable. `ids`: of all blocks that its entries name, or none: then its
   * large files are not kept.
   */
  keep(result: Pick<TaskResult, 'id' | 'bodies' | 'bytesRead'>, ids: readonly Uint8Array[]): void;
  /** The attempt is over. */
  close(isSealed: boolean): void;
}
