import type { Seal } from '../contracts/messages.ts';
import type { BackupCounts, BackupInfo, BackupState, Epoch } from '../model/backup.ts';
import type { BackupKind } from '../model/label.ts';
import type { RecordOp } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import type { BlocksTable } from './port-blocks.ts';
import type { CatalogueTable, SourceName } from './port-catalogue.ts';
import type { JournalHead, JournalPlace, JournalTable, OutboxTable } from './port-journal.ts';
import type {
  AccessTable,
  Admission,
  DomainsTable,
  Lease,
  OverdueBackup,
  PoliciesTable,
} from './port-services.ts';
import type { WatchesTable } from './port-watches.ts';

export type * from './port-blocks.ts';
export type * from './port-catalogue.ts';
export type * from './port-journal.ts';
export type * from './port-services.ts';
export type * from './port-watches.ts';

export interface SourceRow {
  readonly id: number;
  readonly uid: string;
  /** Name of the agent (host) and absolute path of the root on it, raw bytes. */
  readonly agent: string;
  /** The enrolled agent that it belongs to; undefined for a source of the embedded mode. */
  readonly agentUid: string | undefined;
  readonly root: Buffer;
  /** Key of entry hashes, 32 bytes. */
  readonly key: Buffer;
  readonly domain: string;
  readonly epoch: Epoch;
  /** Source seq of the newest committed backup, and of the last committed full; 0 for none. */
  readonly head: number;
  readonly baseline: number;
  /** What the root looked like at the last backup (ctime etc. do not belong here): JSON of the agent, opaque. */
  readonly rootHint: string | undefined;
}

export interface OpenRequest {
  readonly sourceId: number;
  readonly kind: BackupKind;
  readonly tags: Readonly<Record<string, string>>;
  /** Without one, the slot is held by a session with the registry, for as long as the process lives. */
  readonly lease?: Lease | undefined;
}

export interface OpenedBackup {
  readonly backup: BackupInfo;
  readonly source: SourceRow;
  /** State digest of the base; zeros when there is none. */
  readonly baseDigest: Buffer;
}

/** The registry's time at which the caller's commit began, or that another one's has. */
export type Committing = { readonly ours: true; readonly at: Date } | { readonly ours: false };

/** A source with its newest backup, what changes are counted from. */
export interface SourceHead {
  readonly source: SourceRow;
  /** Undefined before the source's first backup is committed. */
  readonly backup: BackupInfo | undefined;
  /** A block of the source's domain is known to be damaged. */
  readonly hasDamage: boolean;
}

/** A frame or an inline piece of a journal object that holds a part of a run; see docs/3-formats-store.md, "Journal". */
export interface RunRef {
  /** The run holds the newest version of each path with fromSeq < seq <= toSeq. */
  readonly fromSeq: number;
  readonly toSeq: number;
  /** Number of records. */
  readonly records: number;
  /** Where it lies: blocks of kind run, in order, or inline in a journal object (writer/number of section). */
  readonly parts: readonly RunPart[];
}

export type RunPart =
  | { readonly in: 'pack'; readonly pack: string; readonly frameOffset: number; readonly frameLength: number }
  | { readonly in: 'journal'; readonly writer: string; readonly number: number; readonly section: number };

/** A version of an entry as the registry holds it. `hash`, `state` and `hints` are empty for a tombstone (gone). */
export interface EntryVersion {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly seq: number;
  readonly op: RecordOp;
  readonly hash: Buffer;
  readonly state: Buffer;
  readonly hints: Buffer;
}

/** Records of a run, in order. */
export interface RunBody {
  readonly body: Buffer;
  readonly count: number;
}

export interface EntryKey {
  readonly dir: TreePath;
  readonly name: Buffer;
}

export interface EntryChange {
  readonly key: EntryKey;
  readonly before: EntryVersion | undefined;
  readonly after: EntryVersion | undefined;
}

/** A part of a read that goes on later: the last key of one page is the next one's `after`. */
export interface PageRequest {
  /** Only what comes after this key in the read's order; it needs not be there. */
  readonly after?: EntryKey | undefined;
  /** How many at most; fewer only at the end. */
  readonly limit: number;
}

/** One applied segment: what `applySegments` writes for it. */
export interface AppliedSegment {
  readonly shard: number;
  readonly batchNo: number;
  readonly batchCount: number;
  readonly batchDigest: Buffer;
  readonly added: Buffer;
  readonly removed: Buffer;
  readonly counts: {
    added: number;
    changed: number;
    metadata: number;
    deleted: number;
    equal: number;
    kept: number;
  };
  /** Records in RecordWriter's form with their hashes, as in a DeltaSegment. */
  readonly body: Buffer;
  readonly hashes: Buffer;
  readonly asBaseline: Buffer;
}

/** What the pieces of a backup add up to. */
export interface PieceTotals {
  /** Pieces applied of each shard, from shard 0. */
  readonly batches: readonly number[];
  readonly batchDigest: Buffer;
  readonly added: Buffer;
  readonly removed: Buffer;
  readonly counts: {
    added: number;
    changed: number;
    metadata: number;
    deleted: number;
    equal: number;
    kept: number;
  };
}

export interface CommitRequest {
  readonly backupId: string;
  readonly epoch: Epoch;
  readonly stateDigest: Buffer;
  readonly counts: BackupCounts;
  readonly readFrom: Date;
  readonly readTo: Date;
  readonly runs: readonly RunRef[];
  /** Moves with it; undefined: the caller moves it, once all of the object is taken in. So in the other decisions below. */
  readonly journal: JournalHead | undefined;
  readonly committedAt: Date;
  readonly rootHint: string | undefined;
  /** As BackupInfo.gaps. */
  readonly gaps?: readonly string[] | undefined;
  /** Bodies of the events (contracts: CommitMessage without id and number, which the outbox gives). */
  readonly events: readonly {
    readonly type: string;
    readonly data: Readonly<Record<string, string | number | null>>;
  }[];
}

export interface ProblemRow {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly code: number;
}

/** A path found, and the newest kept backup that holds it. */
export interface FoundPath extends EntryKey {
  readonly seq: number;
}

export interface NewestBackup {
  readonly sourceUid: string;
  readonly seq: number;
  readonly kind: BackupKind;
  readonly openedAt: Date;
  readonly committedAt: Date;
}

/** Slots, backups and their states (1-architecture, "States" and "One slot per source"). */
export interface BackupsTable {
  /**
   * The source's row, made when new with the given uid and key. One is known by its agent's uid and root; a source of
   * the embedded mode, which has none, by its agent's name and root.
   */
  ensureSource(source: {
    uid: string;
    agent: string;
    agentUid?: string | undefined;
    root: Buffer;
    key: Buffer;
    domain: string;
  }): Promise<SourceRow>;
  sources(): Promise<SourceRow[]>;
  /** One query; undefined where there is no such source. */
  headOf(name: SourceName): Promise<SourceHead | undefined>;
  /**
   * Takes the slot: allots the seq, hands out the next epoch counter, fixes base = head and the baseline, makes the
   * label. An open backup of the source whose holder is gone is ended first (failed, its rows removed).
   * Throws TM1501 while another process holds the source. The lock is a session advisory lock on a connection of
   * its own that lives until `end`/`commit` or the process dies; with a lease, the row itself. Both respect each other:
   * a lease holds while it lasts, and from the seal to the end of the backup. One that ran out is ended first (TM1512).
   * Throws TM1504 where the source's last backup has to be settled first. The store's lock is shared meanwhile, so that
   * nothing is condemned while a base is being chosen (promise 11). `now`: default the registry's clock.
   */
  open(request: OpenRequest, now?: Date): Promise<OpenedBackup>;
  /** open → sealed; the seal is kept in the row. Idempotent. Throws TM1502 (fenced) or TM1507 (ended). */
  seal(backupId: string, epoch: Epoch, seal: Seal): Promise<void>;
  /** The seal as kept, undefined before it. */
  sealOf(backupId: string): Promise<Seal | undefined>;
  /** The lease lasts so much longer from now on, also where it had run out. Throws TM1502 when the backup has ended. */
  renew(backupId: string, epoch: Epoch, seconds: number): Promise<void>;
  /** Of those that are known, by id; what is no uuid is not. One query. */
  admissions(backupIds: readonly string[]): Promise<Map<string, Admission>>;
  /**
   * Backups with a lease that somebody has to end (`abort`): open ones whose lease has run out, and sealed ones of
   * which no piece was applied for `stallSeconds`.
   */
  overdue(stallSeconds: number): Promise<OverdueBackup[]>;
  /**
   * sealed → committing; names the journal object first, so that after a crash its existence decides. `pieces`: how many
   * were proved; TM1504 where there are others now. Gives whether this call did it: else the backup is being committed
   * already, its row stays, and its outcome is settled under the lock of the writer that `placeOf` names.
   */
  committing(backupId: string, epoch: Epoch, journal: JournalPlace, pieces?: number): Promise<Committing>;
  /**
   * committing → committed in one transaction with outbox, head, baseline, journal head. Compare-and-set on (epoch, head =
   * base). Gives the backup as it is then.
   */
  commit(request: CommitRequest): Promise<BackupInfo>;
  /** Ends a backup that is open, sealed or committing: removes its rows (entries, pieces, problems), frees the slot. Idempotent. */
  fail(backupId: string, code: string, events: CommitRequest['events']): Promise<void>;
  /**
   * As `fail`, but leaves alone what is being committed: the journal decides about that. Gives the state after;
   * undefined where there is no such backup.
   */
  abort(backupId: string, code: string, events: CommitRequest['events']): Promise<BackupState | undefined>;
  /**
   * Backups left open, sealed or committing by processes that are gone (their advisory lock is free). With a lease:
   * those that are open and whose lease has run out, and those that are committing, which the journal's lock guards.
   */
  abandoned(): Promise<(BackupInfo & { journal: JournalPlace | undefined })[]>;
  /** The journal object that a backup named when it was committing; undefined before. */
  placeOf(backupId: string): Promise<JournalPlace | undefined>;
  /** Committed ones (and with `all` every one), oldest first; within a source by seq. */
  list(filter: { sourceId?: number; all?: boolean }): Promise<BackupInfo[]>;
  get(backupId: string): Promise<BackupInfo | undefined>;
  /** The source's backup of that seq, in any state. */
  at(sourceId: number, seq: number): Promise<BackupInfo | undefined>;
  runsOf(sourceId: number, seq: number): Promise<RunRef[]>;
  /** What a commit on that base goes on from; undefined where there is none. */
  baseOf(
    sourceId: number,
    seq: number,
  ): Promise<{ readonly stateDigest: Buffer | undefined; readonly runs: readonly RunRef[] } | undefined>;
  problems(sourceId: number, seq: number): Promise<ProblemRow[]>;
  /** Takes the source's slot for its duration, like open: TM1501 when held. What has no lease any more stays as it is. */
  withSlot<T>(sourceId: number, work: () => Promise<T>): Promise<T>;
  setTags(
    backupId: string,
    tags: Readonly<Record<string, string>>,
    journal: JournalHead | undefined,
  ): Promise<void>;
  setPinned(backupId: string, pinned: boolean, journal: JournalHead | undefined): Promise<void>;
  /**
   * Of each of the sources, among its committed backups, expired ones included: the newest by seq, and of each kind the
   * last that was opened by `now` and the first that was opened after. One query, by index; backups may come twice.
   */
  newest(now: Date, sourceUids: readonly string[]): Promise<NewestBackup[]>;
  /** Ended neither way yet, whoever holds them. */
  active(): Promise<BackupInfo[]>;
  /**
   * Runs what decides on a source's backups (pin, tag, expiry) one after the other, over all processes; waits its turn.
   */
  deciding<T>(sourceId: number, work: () => Promise<T>): Promise<T>;
  /**
   * committed → expired, with the event; rows of entries go by `EntriesTable.dropUnseen`. What is pinned, head or
   * baseline of its source, needed by a backup under way or by a differential that stays, stays too.
   */
  expire(
    backupIds: readonly string[],
    journal: JournalHead | undefined,
    events: CommitRequest['events'],
    now: Date,
  ): Promise<void>;
  /**
   * Rebuild and roll-forward only: write a row as the journal has it, over one of that uid or id. The numbers of a
   * source's events go on where no earlier owner generation has been, so that their ids stay unique.
   */
  restoreSource(source: SourceRow, nextSeq: number): Promise<SourceRow>;
  restoreBackup(backup: BackupInfo, runs: readonly RunRef[]): Promise<void>;
}

/** The entries of every backup. Every read names source and seq; readers ask only for committed seqs. */
export interface EntriesTable {
  /**
   * One transaction: locks the backup's row FOR SHARE, checks that it is open or sealed with this epoch, inserts the
   * pieces and, for those that were new, the entries and problems under the backup's seq. A piece that was applied
   * before is skipped whole. `seal`: seals the backup too, as `BackupsTable.seal` (the row is locked FOR UPDATE then). Gives
   * the backup's seal, if it is sealed by then: whoever seals later sees these pieces. Throws TM1502 (fenced) or TM1507
   * (it is being committed, or has ended).
   */
  apply(backup: BackupInfo, segments: readonly AppliedSegment[], seal?: Seal): Promise<Seal | undefined>;
  totals(backupId: string): Promise<PieceTotals>;
  /** Newest version <= seq of each key: hash and state; undefined where there is none or it is gone. Same order. */
  lookup(sourceId: number, seq: number, keys: readonly EntryKey[]): Promise<(EntryVersion | undefined)[]>;
  /**
   * What the tree holds as of seq, in order of (dir, name), the root first; `within`: that entry and what is below.
   * `children`: only the entry and its direct children. Consume at once: a cursor is open meanwhile. With `page`, the
   * next ones only, found by an index; so in the reads below.
   */
  list(
    sourceId: number,
    seq: number,
    options?: {
      readonly within?: TreePath;
      readonly depth?: 'children' | 'all';
      readonly page?: PageRequest | undefined;
    },
  ): AsyncIterable<EntryVersion[]>;
  /** As `list` of all that is within; an entry is good only while it is visited, so that nothing is kept for it. */
  visit(
    sourceId: number,
    seq: number,
    within: TreePath | undefined,
    visit: (entry: Pick<EntryVersion, 'dir' | 'name' | 'state' | 'hints'>) => void,
  ): Promise<void>;
  /** Paths whose visible version differs between the two seqs, in order; undefined where absent. */
  changes(sourceId: number, fromSeq: number, toSeq: number, page?: PageRequest): AsyncIterable<EntryChange[]>;
  /** Newest version of each path with fromSeq < seq <= toSeq, tombstones included, in order: the records of a run. */
  versions(sourceId: number, fromSeq: number, toSeq: number): AsyncIterable<EntryVersion[]>;
  /** As `versions`, as bodies in RecordWriter's form, each ended by the record with which it has so many bytes. */
  runRecords(sourceId: number, fromSeq: number, toSeq: number, bodyBytes: number): AsyncIterable<RunBody>;
  /**
   * Paths that any of the kept seqs (all committed ones) holds and whose name is LIKE the pattern (% and _ over bytes,
   * \ escapes), each with the newest of those seqs; in order. Consume at once, as with `list`.
   */
  find(
    sourceId: number,
    keptSeqs: readonly number[],
    namePattern: Buffer,
    page?: PageRequest,
  ): AsyncIterable<readonly FoundPath[]>;
  /** Rebuild and roll-forward only: rows without a backup being open. */
  insert(
    sourceId: number,
    versions: readonly EntryVersion[],
    problems: readonly (ProblemRow & { seq: number })[],
  ): Promise<void>;
  /** Rebuild and roll-forward only: removes what `insert` wrote under a seq. */
  remove(sourceId: number, seq: number): Promise<void>;
  /**
   * Deletes versions that no committed backup sees, nor head or baseline, and tombstones that hide nothing any more; short transactions. Gives how many rows went. Repeated after a crash it goes on.
   */
  dropUnseen(sourceId: number): Promise<number>;
  /** States of all versions of all sources in a domain, for marking live blocks; any order, short transactions. */
  allStates(domain: string): AsyncIterable<Buffer[]>;
}

/** The baseline registry: all tables of one Postgres database. */
export interface Registry {
  readonly backups: BackupsTable;
  readonly entries: EntriesTable;
  readonly blocks: BlocksTable;
  readonly outbox: OutboxTable;
  readonly journal: JournalTable;
  readonly access: AccessTable;
  readonly domains: DomainsTable;
  readonly policies: PoliciesTable;
  readonly catalogue: CatalogueTable;
  readonly watches: WatchesTable;
  /** The registry's clock, by which backups are dated. */
  now(): Promise<Date>;
  /** True when no source, backup or block is known. */
  isEmpty(): Promise<boolean>;
  /**
   * Removes all that a rebuild brings back from the store. Who may talk to the services, the domains' keys, and the
   * sources' policies stay.
   */
  clear(): Promise<void>;
  close(): Promise<void>;
}
