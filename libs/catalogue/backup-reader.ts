import type { FolderIdentity } from '../agent/folder-identity.ts';
import type { ReadingKeys, RestoreSupplier } from '../restore/block-supplier.ts';
import type { Span } from '../watch/coverage.ts';
import type { Catalogue, CatalogueSource, FoundBackup } from './port.ts';

/** Blocks of a backup's domain, and the keys that open them. */
export interface BackupBlocks {
  readonly keys: ReadingKeys;
  readonly supplier: RestoreSupplier;
}

export interface Period {
  readonly from: Date;
  readonly to: Date;
}

/** All that reading backups back needs. */
export interface BackupReader {
  readonly catalogue: Catalogue;
  /** Name of this host's agent: whose DIR is meant where no agent is named. */
  readonly agent: string;
  /** Its id where it is enrolled: of agents with the same name this one is meant. */
  readonly agentUid: string | undefined;
  /** For temporary files. */
  readonly spoolDir: string;
  /** Folders that nothing may be restored into: home and store. */
  readonly forbidden: () => readonly FolderIdentity[];
  /** When a source was watched, in a period and not past now, oldest first. */
  coverage(source: CatalogueSource, period: Period): Promise<readonly Span[]>;
  /** Throws TM1401, TM1402, TM1403 or TM1404 where the identity does not open the domain. */
  blocks(of: FoundBackup, signal: AbortSignal): Promise<BackupBlocks>;
}
