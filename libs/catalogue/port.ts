import type { BackupInfo } from '../model/backup.ts';
import type { TreePath } from '../model/tree-path.ts';
import type { EntryKey, EntryVersion, SourceRow } from '../registry/port.ts';

/** A source as a reader sees it. `id` holds good within one catalogue only. */
export type CatalogueSource = Pick<
  SourceRow,
  'id' | 'uid' | 'agent' | 'agentUid' | 'root' | 'domain' | 'head' | 'baseline'
>;

export interface FoundBackup {
  readonly backup: BackupInfo;
  readonly source: CatalogueSource;
}

export type TreeEntry = Pick<EntryVersion, 'dir' | 'name' | 'state' | 'hints'>;

/** The tree of one backup. */
export interface BackupEntries {
  /** In order of (dir, name), the root first; `within`: that entry and what is below it. Consume at once. */
  list(options?: {
    readonly within?: TreePath | undefined;
    readonly depth?: 'children' | 'all' | undefined;
  }): AsyncIterable<readonly TreeEntry[]>;
  /** As `list` of all that is within; an entry is good only while it is visited. */
  visit(visit: (entry: TreeEntry) => void, within?: TreePath): Promise<void>;
  /** Same order; undefined where there is none. */
  lookup(keys: readonly EntryKey[]): Promise<(TreeEntry | undefined)[]>;
}

/** `metadata`: the content is the same. */
export interface EntryChange {
  readonly op: 'added' | 'changed' | 'metadata' | 'deleted';
  readonly path: TreePath;
}

/** With the newest backup of its source that holds it. */
export interface FoundEntry extends FoundBackup {
  readonly path: TreePath;
  /** The newest backup of the source lacks it. */
  readonly deleted: boolean;
}

/** How a source stands, by the registry's clock. */
export interface SourceStatus {
  readonly source: CatalogueSource;
  /** The newest committed backup and the last committed full. */
  readonly last: BackupInfo | undefined;
  readonly lastFull: BackupInfo | undefined;
  /** Since `last` was committed. */
  readonly ageSeconds: number | undefined;
  /** The one under way. */
  readonly open: BackupInfo | undefined;
  /** The newest that failed, where that is newer than `last`. */
  readonly failed: BackupInfo | undefined;
  /** As an agent last said, where services are told. */
  readonly watch: SourceWatch | undefined;
}

/** How a source is watched. */
export interface SourceWatch {
  /** The event source; undefined while there is none. */
  readonly by: string | undefined;
  readonly state: string;
  /** Paths that wait to be taken. */
  readonly pending: number;
  /** Seconds: age of the oldest change that no backup has yet. */
  readonly recoveryPoint: number;
  readonly oldestChange: Date | undefined;
  /** That is past the policy's limit. */
  readonly exceeded: boolean;
  readonly seenAt: Date;
  /** Reasons of the open gaps, and since when. */
  readonly gaps: readonly { readonly reason: string; readonly since: Date }[];
}

export interface CatalogueStatus {
  readonly storeId: string;
  readonly ownerGeneration: number;
  readonly sources: readonly SourceStatus[];
}

/** Committed backups and what is in them. */
export interface Catalogue {
  sources(): Promise<CatalogueSource[]>;
  /** Oldest first; within a source by seq. */
  backups(of?: CatalogueSource): Promise<FoundBackup[]>;
  entries(of: FoundBackup): BackupEntries;
  /** Paths that differ, in order; `from`: another backup of the source, its baseline by default. */
  changes(to: FoundBackup, from?: FoundBackup): AsyncIterable<readonly EntryChange[]>;
  /** Paths that fit a pattern (model/find-pattern), source by source, in order. */
  find(pattern: string, of?: CatalogueSource): AsyncIterable<readonly FoundEntry[]>;
  /** In the order in which the sources were made. */
  status(): Promise<CatalogueStatus>;
}
