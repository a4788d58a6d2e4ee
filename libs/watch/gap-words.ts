import type { GapReason } from './ledger-format.ts';

const WORDS: Readonly<Record<GapReason, string>> = {
  'agent-down': 'nobody watched',
  overflow: 'more changed at once than the queue of events holds',
  'watch-limit': 'more folders than the system lets one watch',
  'mount-changed': 'a file system was mounted or unmounted below the folder',
  'root-replaced': 'another folder took the place of the one that was watched',
  'root-deleted': 'the folder was deleted or moved away',
  unmounted: 'the file system of the folder was unmounted',
  'watch-failed': 'what the watch stands on failed',
  'ledger-damaged': 'the record of gaps was damaged',
};

/** A gap's reason for people. One that only a newer program knows is told as it is. */
export const gapWords = (reason: string): string =>
  (WORDS as Readonly<Record<string, string>>)[reason] ?? reason;
