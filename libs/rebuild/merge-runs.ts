import { type EntryRecord, RecordOp } from '../model/records.ts';
import { compareEntries } from '../model/tree-path.ts';
import type { RunCursor } from './run-cursor.ts';

/** The newest record of a path, and from which seq its run counts. */
export interface MergedRecord {
  readonly record: EntryRecord;
  readonly fromSeq: number;
}

const PAGE_RECORDS = 1000;
const PAGE_BYTES = 4 * 1024 * 1024;

/**
 * Merges runs, oldest first, into pages in the order of (dir, name): of a path's records the newest run's. Cursors are
 * left at their problems (kept records).
 */
export async function* mergeRuns(cursors: readonly RunCursor[]): AsyncGenerator<MergedRecord[]> {
  let page: MergedRecord[] = [];
  let bytes = 0;
  for (;;) {
    for (const cursor of cursors) if (!cursor.record && !cursor.ended) await cursor.load();
    const newest = newestOfFirst(cursors);
    if (!newest) break;
    const record = newest.record!;
    page.push({ record, fromSeq: newest.run.fromSeq });
    bytes += record.state.length + record.dir.length;
    for (const cursor of cursors) {
      const other = entryAt(cursor);
      if (other && compareEntries(other.dir, other.name, record.dir, record.name) === 0) cursor.next();
    }
    if (page.length < PAGE_RECORDS && bytes < PAGE_BYTES) continue;
    yield page;
    page = [];
    bytes = 0;
  }
  if (page.length > 0) yield page;
}

const entryAt = ({ record }: RunCursor): EntryRecord | undefined =>
  record?.op === RecordOp.kept ? undefined : record;

/** The newest of the cursors that stand at the path that comes first. */
function newestOfFirst(cursors: readonly RunCursor[]): RunCursor | undefined {
  let found: RunCursor | undefined;
  let first: EntryRecord | undefined;
  for (const cursor of cursors) {
    const record = entryAt(cursor);
    if (!record) continue;
    const order = first ? compareEntries(record.dir, record.name, first.dir, first.name) : -1;
    if (order > 0) continue;
    first = record;
    found = cursor;
  }
  return found;
}

/** The problems behind the entries of a run, in pages; call it when `mergeRuns` has ended. */
export async function* problemsOf(cursor: RunCursor): AsyncGenerator<EntryRecord[]> {
  let page: EntryRecord[] = [];
  while (cursor.record || (!cursor.ended && (await cursor.load()))) {
    page.push(cursor.record!);
    cursor.next();
    if (page.length < PAGE_RECORDS) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}
