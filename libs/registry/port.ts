import type { BlockLocation } from '../blocks/intake.ts';
import type { Seal } from '../contracts/messages.ts';
import type { BackupCounts, BackupInfo, Epoch } from '../model/backup.ts';
import type { BackupKind } from '../model/label.ts';
import type { RecordOp } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';

/** The store that this registry knows and owns, and where it stands in the journal. */
export interface StoreRow {
  readonly storeId: string;
  readonly registryId: string;
  readonly ownerGeneration: number;
}

/** How far a writer's journal was taken in: its newest object's number and chain digest. */
export interface JournalHead {
  readonly writer: string;
  readonly number: number;
  readonly chain: Buffer;
}

/** The journal object that a backup is committed by. */
export interface JournalPlace {
  readonly writer: string;
  readonly number: number;
}

export interface SourceRow {
  readonly id: number;
  readonly uid: string;
  /** Name of the agent (host) and absolute path of the root on it, raw bytes. */
  readonly agent: string;
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
}

export interface OpenedBackup {
  readonly backup: BackupInfo;
  readonly source: SourceRow;
  /** State digest of the base; zeros when there is none. */
  readonly baseDigest: Buffer;
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

export interface EntryKey {
  readonly dir: TreePath;
  readonly name: Buffer;
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

export interface BlockRow extends BlockLocation {
  readonly id: Buffer;
  readonly kind: number;
  readonly children: Buffer;
}

/** A path found, and the newest kept backup that holds it. */
export interface FoundPath extends EntryKey {
  readonly seq: number;
}

/** A frame of a pack, by where it begins. */
export interface LiveFrame {
  readonly pack: Buffer;
  readonly frameOffset: number;
}

export type StoreLock = 'shared' | 'exclusive' | 'exclusive-now';

export interface PackUse {
  /** Finished or condemned packs in which nothing live lies. */
  readonly dead: readonly { readonly id: Buffer; readonly size: number }[];
  /** Stored bytes of frames without anything live, in packs that hold live ones too. */
  readonly idleBytes: number;
  /** A live block that no row knows of: damage. */
  readonly unknown: Buffer | undefined;
}

/** Slots, backups and their states (1-architecture, "States" and "One slot per source"). */
export interface BackupsTable {
  /** The source's row, made when new with the given uid and key. */
  ensureSource(source: {
    uid: string;
    agent: string;
    root: Buffer;
    key: Buffer;
    domain: string;
  }): Promise<SourceRow>;
  sources(): Promise<SourceRow[]>;
  /**
   * Takes the slot: allots the seq, hands out the next epoch counter, fixes base = head and the baseline, makes the
   * label. An open backup of the source whose holder is gone is ended first (failed, its rows removed).
   * Throws TM1501 while another process holds the source. The lock is a session advisory lock on a connection of
   * its own that lives until `end`/`commit` or the process dies.
   */
  open(request: OpenRequest, now: Date): Promise<OpenedBackup>;
  /** open → sealed; the seal is kept in the row. Idempotent. Throws TM1502 (fenced) or TM1507 (ended). */
  seal(backupId: string, epoch: Epoch, seal: Seal): Promise<void>;
  /** The seal as kept, undefined before it. */
  sealOf(backupId: string): Promise<Seal | undefined>;
  /** sealed → committing; names the journal object first, so that after a crash its existence decides. */
  committing(backupId: string, epoch: Epoch, journal: JournalPlace): Promise<void>;
  /** committing → committed in one transaction with outbox, head, baseline, journal head. Compare-and-set on (epoch, head = base). */
  commit(request: CommitRequest): Promise<void>;
  /** Ends a backup that is open, sealed or committing: removes its rows (entries, pieces, problems), frees the slot. Idempotent. */
  fail(backupId: string, code: string, events: CommitRequest['events']): Promise<void>;
  /** Backups left open, sealed or committing by processes that are gone (their advisory lock is free). */
  abandoned(): Promise<(BackupInfo & { journal: JournalPlace | undefined })[]>;
  /** The journal object that a backup named when it was committing; undefined before. */
  placeOf(backupId: string): Promise<JournalPlace | undefined>;
  /** Committed ones (and with `all` every one), oldest first; within a source by seq. */
  list(filter: { sourceId?: number; all?: boolean }): Promise<BackupInfo[]>;
  get(backupId: string): Promise<BackupInfo | undefined>;
  /** The source's backup of that seq, in any state. */
  at(sourceId: number, seq: number): Promise<BackupInfo | undefined>;
  runsOf(sourceId: number, seq: number): Promise<RunRef[]>;
  problems(sourceId: number, seq: number): Promise<ProblemRow[]>;
  /** Takes the source's slot for its duration, like open: TM1501 when held. */
  withSlot<T>(sourceId: number, work: () => Promise<T>): Promise<T>;
  setTags(
    backupId: string,
    tags: Readonly<Record<string, string>>,
    journal: JournalHead | undefined,
  ): Promise<void>;
  setPinned(backupId: string, pinned: boolean, journal: JournalHead | undefined): Promise<void>;
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
   * before is skipped whole. Throws TM1502/TM1507.
   */
  apply(backup: BackupInfo, segments: readonly AppliedSegment[]): Promise<void>;
  totals(backupId: string): Promise<PieceTotals>;
  /** Newest version <= seq of each key: hash and state; undefined where there is none or it is gone. Same order. */
  lookup(sourceId: number, seq: number, keys: readonly EntryKey[]): Promise<(EntryVersion | undefined)[]>;
  /**
   * What the tree holds as of seq, in order of (dir, name), the root first; `within`: that entry and what is below.
   * `children`: only the entry and its direct children. Consume at once: a cursor is open meanwhile.
   */
  list(
    sourceId: number,
    seq: number,
    options?: { readonly within?: TreePath; readonly depth?: 'children' | 'all' },
  ): AsyncIterable<EntryVersion[]>;
  /** Paths whose visible version differs between the two seqs, in order; undefined where absent. */
  changes(
    sourceId: number,
    fromSeq: number,
    toSeq: number,
  ): AsyncIterable<{ key: EntryKey; before: EntryVersion | undefined; after: EntryVersion | undefined }[]>;
  /** Newest version of each path with fromSeq < seq <= toSeq, tombstones included, in order: the records of a run. */
  versions(sourceId: number, fromSeq: number, toSeq: number): AsyncIterable<EntryVersion[]>;
  /**
   * Paths that any of the kept seqs (all committed ones) holds and whose name is LIKE the pattern (% and _ over bytes,
   * \ escapes), each with the newest of those seqs; in order. Consume at once, as with `list`.
   */
  find(
    sourceId: number,
    keptSeqs: readonly number[],
    namePattern: Buffer,
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

/** Blocks and packs of the domains. */
export interface BlocksTable {
  /** n ids of 32 bytes each; gives n bytes, 1 where present (and neither condemned nor damaged). One query per 1,000. */
  present(domain: string, ids: Buffer): Promise<Uint8Array>;
  /** Locations in the order asked; undefined where unknown. */
  locate(domain: string, ids: readonly Buffer[]): Promise<(BlockRow | undefined)[]>;
  /** A row (writing) before the object is put. */
  beginPack(domain: string, pack: { id: Buffer; size: number }): Promise<void>;
  /**
   * writing → ready with its blocks, one transaction. A block that has a location keeps it, unless it is damaged or
   * condemned. Idempotent. Throws TM1502 where the pack was not begun, or was condemned meanwhile.
   */
  finishPack(
    domain: string,
    pack: { id: Buffer; size: number; keys: readonly Buffer[] },
    blocks: readonly BlockRow[],
  ): Promise<void>;
  packs(
    domain: string,
  ): AsyncIterable<{ id: Buffer; size: number; state: 'writing' | 'ready' | 'condemned' }[]>;
  /** Blocks of one pack by their first location, by frame and offset. */
  blocksOf(domain: string, pack: Buffer): Promise<BlockRow[]>;
  /**
   * What is left over when the live blocks, with all children of recipe blocks, and the live runs' frames are marked.
   * Meaningful only while no backup is under way.
   */
  unreferencedPacks(
    domain: string,
    live: AsyncIterable<readonly Buffer[]>,
    runs: readonly LiveFrame[],
  ): Promise<PackUse>;
  /** Packs that were begun and not finished. */
  unfinishedPacks(domain: string): Promise<Buffer[]>;
  /** Those of the ids that no domain has a row of. */
  unknownPacks(ids: readonly Buffer[]): Promise<Buffer[]>;
  /** Durable before the first object goes: from now on the packs' blocks count as missing, and `finishPack` refuses them. */
  condemn(domain: string, packs: readonly Buffer[]): Promise<void>;
  /** Removes the rows of a condemned pack, whose object is gone; blocks that were put anew meanwhile stay. Idempotent. */
  forgetPack(domain: string, pack: Buffer): Promise<void>;
  /** Whether any block of the domain is marked damaged. */
  hasDamage(domain: string): Promise<boolean>;
  /** Marks blocks damaged: they count as missing and are put anew by the next backup that has them. */
  markDamaged(domain: string, ids: readonly Buffer[]): Promise<void>;
}

export interface OutboxRow {
  readonly id: number;
  readonly sourceId: number;
  readonly sourceUid: string;
  readonly eventNo: number;
  readonly type: string;
  readonly time: Date;
  readonly data: Readonly<Record<string, string | number | null>>;
}

/** Events that wait to be published, in event-number order per source; gapless. */
export interface OutboxTable {
  pending(limit: number): Promise<OutboxRow[]>;
  published(ids: readonly number[]): Promise<void>;
}

export interface JournalTable {
  store(): Promise<StoreRow | undefined>;
  setStore(row: StoreRow): Promise<void>;
  heads(): Promise<JournalHead[]>;
  setHead(head: JournalHead): Promise<void>;
  /** Runs `work` while holding the lock under which a writer's journal numbers are allotted. */
  withWriter<T>(writer: string, work: () => Promise<T>): Promise<T>;
  /**
   * The store's advisory lock: shared for opening and committing (briefly) and for reading packs (throughout),
   * exclusive for deciding to delete. `exclusive-now` does not wait: TM1501 while anybody has it, since behind one
   * that waits to exclude readers all new ones would have to wait too. A broken session loses the lock without a word:
   * who must not go on without it asks `stillHeld`, which throws TM1301 then.
   */
  withStoreLock<T>(mode: StoreLock, work: (stillHeld: () => Promise<void>) => Promise<T>): Promise<T>;
}

/** The baseline registry: all tables of one Postgres database. */
export interface Registry {
  readonly backups: BackupsTable;
  readonly entries: EntriesTable;
  readonly blocks: BlocksTable;
  readonly outbox: OutboxTable;
  readonly journal: JournalTable;
  /** The registry's clock, by which backups are dated. */
  now(): Promise<Date>;
  /** True when no source, backup or block is known. */
  isEmpty(): Promise<boolean>;
  /** Removes everything (rebuild over an old registry). */
  clear(): Promise<void>;
  close(): Promise<void>;
}
