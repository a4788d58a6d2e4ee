import type { BackupInfo } from '../model/backup.ts';
import type { AgentRow, EntryKey, ProblemRow, SourceRow } from './port.ts';

/** How a source stands. */
export interface SourceStanding {
  readonly source: SourceRow;
  /** The source's newest committed backup and last committed full, where they have not expired. */
  readonly last: BackupInfo | undefined;
  readonly lastFull: BackupInfo | undefined;
  /** The one under way. */
  readonly active: BackupInfo | undefined;
  /** The newest that failed after the newest committed one. */
  readonly failed: BackupInfo | undefined;
}

/** `agent`: of a source of the embedded mode, whose agent has a name only. */
export type SourceName =
  | { readonly id: number }
  | { readonly uid: string }
  | { readonly agentUid: string; readonly root: Buffer }
  | { readonly agent: string; readonly root: Buffer };

/** What lists that may be long are shown from: single rows, and pages that an index finds. */
export interface CatalogueTable {
  source(name: SourceName): Promise<SourceRow | undefined>;
  sourcesByIds(ids: readonly number[]): Promise<Map<number, SourceRow>>;
  /** By id, from the first one after `afterId`; of one agent only. */
  sources(page: {
    readonly afterId: number;
    readonly agentUid?: string | undefined;
    readonly limit: number;
  }): Promise<SourceRow[]>;
  /** By source and seq, from the first one after that place. */
  backups(page: {
    readonly after: { readonly sourceId: number; readonly seq: number };
    readonly sourceId?: number | undefined;
    readonly agentUid?: string | undefined;
    /** Of every state, not committed ones only. */
    readonly all: boolean;
    readonly limit: number;
  }): Promise<BackupInfo[]>;
  /** Seqs of the source's committed backups, ascending. */
  committedSeqs(sourceId: number): Promise<number[]>;
  bySeqs(sourceId: number, seqs: readonly number[]): Promise<Map<number, BackupInfo>>;
  /** In the order of the sources. */
  standings(sources: readonly SourceRow[]): Promise<SourceStanding[]>;
  problems(
    sourceId: number,
    seq: number,
    page: { readonly after?: EntryKey | undefined; readonly limit: number },
  ): Promise<ProblemRow[]>;
  /** By enrolment, from the first one after that agent. */
  agents(page: { readonly afterUid?: string | undefined; readonly limit: number }): Promise<AgentRow[]>;
}
