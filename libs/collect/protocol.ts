import type { SealedFrame } from '../blocks/intake.ts';
import type { Body } from '../contracts/wire/body-writer.ts';
import type { Compression } from '../model/compression.ts';
import type { SentError } from '../model/sent-error.ts';

/** What differs from one backup of a source to the next. */
export interface BackupStart {
  /** Device of the root, whose files' link groups do not depend on its number (it may change at a reboot). */
  readonly rootDev: bigint;
  readonly startedAtNs: bigint;
}

/** What a worker is made with. Buffers are copies: keys reach a worker once. */
export interface WorkerSetup extends BackupStart {
  readonly domainId: string;
  readonly dedupKey: Uint8Array;
  readonly digestKey: Uint8Array;
  readonly sourceKey: Uint8Array;
  readonly gearSeed: Uint8Array;
  readonly dataKey: {
    readonly id: Uint8Array;
    readonly key: Uint8Array;
    readonly firstFrameNo: number;
    readonly endFrameNo: number;
  };
  readonly compression: Compression;
  readonly granularityNs: bigint;
}

/** Entries to read, packed (task.ts). */
export interface Task {
  readonly id: number;
  readonly count: number;
  readonly items: Uint8Array;
}

/** How reading an entry ended; in the order of the task's items. */
export const Outcome = {
  /** Recorded; the state may be trusted at the next scan. */
  read: 0,
  /** Recorded, and to be read again next time (it changed meanwhile, or its times are too young to trust). */
  untrusted: 1,
  /** It vanished after the walk saw it. */
  vanished: 2,
  /** It could not be read; nothing recorded. */
  failed: 3,
} as const;

/** An entry that could not be read, or is flagged. `item`: its index in the task. */
export interface ItemProblem {
  readonly item: number;
  readonly code: number;
  readonly message: string;
}

export interface TaskResult {
  readonly id: number;
  readonly bodies: readonly Body[];
  /** One Outcome byte and one entry hash (32 bytes) for each item. */
  readonly outcomes: Uint8Array;
  readonly hashes: Uint8Array;
  readonly problems: readonly ItemProblem[];
  /** Bytes of content read. */
  readonly bytesRead: number;
}

/** Large buffers are moved, not copied: the sender can't use them any more. */
export type FromWorker =
  | {
      readonly type: 'ask';
      readonly lane: number;
      readonly task: number;
      readonly ids: Uint8Array;
      /** Content of the blocks that are asked for. */
      readonly bytes: number;
    }
  | {
      readonly type: 'frames';
      readonly lane: number;
      readonly task: number;
      readonly frames: readonly SealedFrame[];
    }
  | { readonly type: 'result'; readonly lane: number; readonly result: TaskResult }
  | { readonly type: 'error'; readonly error: SentError };

export type ToWorker =
  | { readonly type: 'begin'; readonly start: BackupStart }
  | { readonly type: 'task'; readonly task: Task }
  | { readonly type: 'missing'; readonly lane: number; readonly missing: Uint8Array }
  | { readonly type: 'accepted'; readonly lane: number }
  | { readonly type: 'close' };
