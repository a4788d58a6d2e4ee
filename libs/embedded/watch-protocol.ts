import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { BackupCounts } from '../model/backup.ts';

/**
 * What a process asks of one that watches a folder, over the socket of that watch: one line of JSON, answered by lines of
 * JSON, the last of which ends it. Who hangs up calls off what it asked for.
 */
const at = { version: z.literal(1), place: z.string() };

export const watchRequest = z.discriminatedUnion('type', [
  z.object({ ...at, type: z.literal('status') }),
  z.object({
    ...at,
    type: z.literal('backup'),
    kind: z.enum(['full', 'differential']).optional(),
    tags: z.record(z.string(), z.string()),
    /** Without them those of the watch hold. */
    excludes: z.array(z.string()).optional(),
    oneFileSystem: z.boolean().optional(),
    acceptRoot: z.boolean(),
  }),
]);
export type WatchRequest = z.infer<typeof watchRequest>;

/** A backup that was made, as far as the one who asked has to tell of it. */
export interface MadeBackup {
  readonly label: string;
  readonly kind: 'full' | 'differential';
  readonly counts: BackupCounts | undefined;
  readonly baseline: string | null;
}

/** Of a watched folder; times as in MonitorStatus. */
export interface WatchView {
  /** Absolute; base64. */
  readonly root: string;
  readonly by: string | null;
  readonly state: string;
  readonly recoveryPointMs: number;
  readonly oldestChange: number | null;
  readonly pending: number;
  readonly gaps: readonly string[];
  readonly lastCommit: string | null;
  readonly failure: string | null;
}

export type WatchReply =
  /** It is being dealt with. */
  | { readonly type: 'taken' }
  | {
      readonly type: 'problem';
      readonly code: number;
      readonly dir: string;
      readonly name: string;
      readonly message: string;
    }
  | {
      readonly type: 'progress';
      readonly files: number;
      readonly bytes: number;
      readonly totalBytes?: number | undefined;
      readonly newBytes: number;
    }
  | { readonly type: 'made'; readonly backup: MadeBackup }
  | { readonly type: 'failed'; readonly code?: string | undefined; readonly message: string }
  | { readonly type: 'status'; readonly watch: WatchView }
  /** This process watches for another store or registry. */
  | { readonly type: 'elsewhere' };

/** Longest line that is read. */
export const MAX_LINE_BYTES = 1 << 20;

/** Names the store and registry that a process works with. */
export const placeOf = ({
  storeUrl,
  registryUrl,
}: {
  readonly storeUrl: string;
  readonly registryUrl: string | undefined;
}): string =>
  createHash('sha256')
    .update(JSON.stringify([storeUrl, registryUrl ?? null]))
    .digest('hex');
