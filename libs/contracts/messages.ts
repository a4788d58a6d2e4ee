import type { Epoch } from '../model/backup.ts';

/** Headers of every message of a backup. */
export interface PieceHeader {
  readonly backupId: string;
  readonly sourceId: number;
  readonly epoch: Epoch;
  readonly shard: number;
  /** Number within the shard, from 0. */
  readonly batchNo: number;
  readonly schema: 1;
}

/** change-events: up to 1,000 events. `body` is written by RecordWriter; `digest` is BLAKE3 of it. */
export interface ChangeBatch {
  readonly type: 'batch';
  readonly header: PieceHeader;
  readonly count: number;
  readonly body: Buffer;
  readonly digest: Buffer;
}

/** The agent's statement that all batches are out; one per backup, on shard 0. */
export interface Seal {
  readonly type: 'seal';
  readonly header: PieceHeader;
  /** Batches of each shard. */
  readonly batches: readonly number[];
  /** Sum (DigestSum) of the batches' digests. */
  readonly batchDigest: Buffer;
  /** State digest of the whole tree as the agent sees it. */
  readonly stateDigest: Buffer;
  readonly totals: {
    readonly files: number;
    readonly directories: number;
    readonly others: number;
    readonly bytes: number;
    readonly newBytes: number;
    readonly storedBytes: number;
    readonly problems: number;
  };
  /** Milliseconds since 1970 when the first and the last entry was read. */
  readonly readFrom: number;
  readonly readTo: number;
  /** What the agent remembers of the root (inode, number of names …); opaque to everyone else. */
  readonly rootHint: string;
  /** Of a watched source: reasons of the gaps that were open when the backup was opened, sorted. */
  readonly gaps?: readonly string[] | undefined;
}

export type ChangeMessage = ChangeBatch | Seal;

/** What a batch's records did, counted against the base. */
export interface PieceCounts {
  readonly added: number;
  readonly changed: number;
  readonly metadata: number;
  readonly deleted: number;
  readonly equal: number;
  readonly kept: number;
}

/**
 * delta-sets: what is left of one batch, one segment per batch (also when nothing differs).
 * `body` holds the records that differ from the base; `hashes` their entry hashes (32 bytes each, zeros for gone and
 * kept records), `asBaseline` one byte each: 1 where the state equals the baseline's again.
 */
export interface DeltaSegment {
  readonly type: 'segment';
  readonly header: PieceHeader;
  /** The batch's count and digest, echoed. */
  readonly batchCount: number;
  readonly batchDigest: Buffer;
  readonly count: number;
  readonly body: Buffer;
  readonly hashes: Buffer;
  readonly asBaseline: Buffer;
  /** Sums (DigestSum) of the new entry hashes and of those that they replace. */
  readonly added: Buffer;
  readonly removed: Buffer;
  readonly counts: PieceCounts;
}

export type DeltaMessage = DeltaSegment | Seal;

export type CommitType =
  | 'backup.committed'
  | 'backup.failed'
  | 'backup.expired'
  | 'baseline.promoted'
  /** Of a watched source: the age of the oldest change that no backup has passed the policy's limit, or fell below. */
  | 'recovery-point.exceeded'
  | 'recovery-point.recovered';

/** commits: CloudEvents 1.0. */
export interface CommitMessage {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: CommitType;
  readonly time: string;
  readonly subject: string;
  readonly datacontenttype: 'application/json';
  readonly data: Readonly<Record<string, string | number | null>>;
}

/** The three topics and what travels on them. */
export interface Topics {
  'change-events': ChangeMessage;
  'delta-sets': DeltaMessage;
  commits: CommitMessage;
}
export type Topic = keyof Topics;
