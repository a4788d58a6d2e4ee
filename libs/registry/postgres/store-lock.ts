/** Key of the store's advisory lock (JournalTable.withStoreLock). */
export const STORE_LOCK = 0x746d0004;

/** Takes it shared for a transaction. */
export const SHARE_STORE = `select pg_advisory_xact_lock_shared(${STORE_LOCK})`;
