/** The journal: chained objects that hold every durable decision (docs/3-formats-store.md, "Journal"). */
export type { ChainHead, JournalContent, JournalObject } from './journal-object.ts';
export { listWriters, readJournal, readJournalObject } from './journal-reader.ts';
export type { JournalRecord, JournalRecordOf } from './journal-records.ts';
export {
  JournalWriter,
  type JournalWriterOptions,
} from './journal-writer.ts';
export { type ChainFinding, verifyChain } from './verify-chain.ts';
