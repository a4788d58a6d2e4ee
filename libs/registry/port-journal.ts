/** The store that this registry knows and owns, and where it stands in the journal. */
export interface StoreRow {
  readonly storeId: string;
  readonly registryId: string;
  readonly ownerGeneration: number;
}

/** Ids of a store to be, and the time at which it was thought of. */
export interface NewStore {
  readonly storeId: string;
  readonly registryId: string;
  readonly time: string;
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

export type StoreLock = 'shared' | 'exclusive' | 'exclusive-now';

export interface JournalTable {
  store(): Promise<StoreRow | undefined>;
  setStore(row: StoreRow): Promise<void>;
  /** What a store that services make is going to be: the same for whoever asks, so that who is killed on the way is no matter. */
  newStore(): Promise<NewStore>;
  heads(): Promise<JournalHead[]>;
  setHead(head: JournalHead): Promise<void>;
  /** Ids of the journal writers that services share: made once for this registry, the same for whoever asks. */
  lanes(count: number): Promise<string[]>;
  /** Runs `work` while holding the lock under which a writer's journal numbers are allotted. */
  withWriter<T>(writer: string, work: () => Promise<T>): Promise<T>;
  /** Runs `work` under the store's lock, shared, and a writer's, taken in this order. */
  withStoreAndWriter<T>(writer: string, work: () => Promise<T>): Promise<T>;
  /**
   * The store's advisory lock: shared for opening and committing (briefly) and for reading packs (throughout),
   * exclusive for deciding to delete. `exclusive-now` does not wait: TM1501 while anybody has it, since behind one
   * that waits to exclude readers all new ones would have to wait too. A broken session loses the lock without a word:
   * who must not go on without it asks `stillHeld`, which throws TM1301 then.
   */
  withStoreLock<T>(mode: StoreLock, work: (stillHeld: () => Promise<void>) => Promise<T>): Promise<T>;
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
  /** Oldest first; those of one source by their numbers. */
  pending(limit: number): Promise<OutboxRow[]>;
  published(ids: readonly number[]): Promise<void>;
  /** Counts all that waits as published, unless services are there to tell it. */
  passOver(): Promise<void>;
  /**
   * Runs `work` as the only publisher over all processes; false, without running it, while another one publishes. The
   * right goes with its session, should that break: `stillMine` throws TM1301 then.
   */
  publishing(work: (stillMine: () => Promise<void>) => Promise<void>): Promise<boolean>;
  /**
   * Calls back, once for many, when events may have come, whoever made them: also at the start and whenever the
   * connection is there again after it was lost. A hint: who must not miss any looks now and then by itself.
   */
  onPending(callback: () => void): PendingWatch;
}

export interface PendingWatch {
  close(): Promise<void>;
}
