import { damagedOf } from '../cell/damaged-entries.ts';
import type { BackupInfo } from '../model/backup.ts';
import { findPattern } from '../model/find-pattern.ts';
import { RecordWriter } from '../model/records.ts';
import type { TreePath } from '../model/tree-path.ts';
import type { EntryVersion, Registry, SourceRow } from '../registry/port.ts';
import { cursorOfKey, encodeCursor, type KeyCursor, keyOfCursor } from './cursor.ts';
import { pathOf } from './views.ts';

/** Bytes of paths and states in one page: entries with many xattrs are large. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
/** Sources that one request of a search looks through. */
const SOURCES_A_SEARCH = 20;
/** Candidates by the database's pattern that one request looks at, of each source. */
const CANDIDATES = 1000;

export interface Page<T> {
  readonly rows: readonly T[];
  /** Cursor of the next page. */
  readonly next: string | null;
}

export interface Listing {
  readonly within?: TreePath | undefined;
  readonly depth: 'children' | 'all';
  readonly after: KeyCursor | undefined;
  readonly limit: number;
}

/** Consumes a read of at most `limit` rows. */
export async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const rows: T[] = [];
  for await (const page of pages) rows.push(...page);
  return rows;
}

/** A full page has another one behind it, which may be empty. */
const nextAfter = (last: EntryVersion | undefined, isLast: boolean): string | null =>
  isLast || !last ? null : encodeCursor(cursorOfKey(last));

export async function entriesPage(
  { entries }: Registry,
  source: SourceRow,
  seq: number,
  { within, depth, after, limit }: Listing,
): Promise<Page<EntryVersion>> {
  const page = { after: keyOfCursor(after), limit };
  const options = { depth, page, ...(within && { within }) };
  const rows: EntryVersion[] = [];
  let bytes = 0;
  for await (const some of entries.list(source.id, seq, options))
    for (const row of some) {
      bytes += row.dir.length + row.name.length + row.state.length;
      if (rows.length > 0 && bytes > MAX_PAGE_BYTES) return { rows, next: nextAfter(rows.at(-1), false) };
      rows.push(row);
    }
  return { rows, next: nextAfter(rows.at(-1), rows.length < limit) };
}

/** Form: contracts/api/control.ts, `listRecords`. */
export function recordsOf({ rows, next }: Page<EntryVersion>): Buffer {
  const writer = new RecordWriter();
  for (const { dir, name, state, hints } of rows) writer.present(dir, name, state, hints);
  const cursor = Buffer.from(next ?? '', 'ascii');
  const length = Buffer.alloc(2);
  length.writeUInt16LE(cursor.length);
  return Buffer.concat([length, cursor, writer.finish()]);
}

/** Of the next `limit` entries of a base those that lack a block. */
export async function damagedPage(
  registry: Registry,
  source: SourceRow,
  seq: number,
  after: KeyCursor | undefined,
  limit: number,
): Promise<Page<TreePath>> {
  const { rows, next } = await entriesPage(registry, source, seq, { depth: 'all', after, limit });
  const damaged = await damagedOf(registry, source.domain, rows);
  return { rows: damaged.map(pathOf), next };
}

export interface FoundIn {
  readonly source: SourceRow;
  readonly backup: BackupInfo;
  readonly path: TreePath;
}

/** Where a search stands: the source, and the last candidate in it. */
export interface SearchPlace {
  readonly afterId: number;
  /** Undefined: the source of that id is done. */
  readonly key: KeyCursor | undefined;
}

export interface SearchQuery {
  readonly pattern: string;
  readonly agentUid: string | undefined;
  /** In this one only. */
  readonly source: SourceRow | undefined;
  readonly limit: number;
}

/** Goes through sources in the order of their ids until the page is full, or enough was looked at. */
export async function findPage(
  registry: Registry,
  { pattern, agentUid, source: only, limit }: SearchQuery,
  place: SearchPlace | undefined,
): Promise<{ rows: FoundIn[]; next: SearchPlace | undefined }> {
  const sources = only ? [only] : await sourcesFrom(registry, place, agentUid);
  const { nameLike, matches } = findPattern(pattern);
  const rows: FoundIn[] = [];
  for (const source of sources) {
    const key = place?.key && place.afterId === source.id ? place.key : undefined;
    const page = { after: keyOfCursor(key), limit: Math.min(CANDIDATES, limit) };
    const seqs = await registry.catalogue.committedSeqs(source.id);
    const found =
      seqs.length === 0 ? [] : await collect(registry.entries.find(source.id, seqs, nameLike, page));
    const fitting = found.filter((one) => matches(pathOf(one)));
    const backups = await registry.catalogue.bySeqs(source.id, [...new Set(fitting.map(({ seq }) => seq))]);
    for (const one of fitting) rows.push({ source, backup: backups.get(one.seq)!, path: pathOf(one) });
    const last = found.at(-1);
    if (found.length >= page.limit && last)
      return { rows, next: { afterId: source.id, key: cursorOfKey(last) } };
    if (rows.length >= limit) return { rows, next: only && { afterId: source.id, key: undefined } };
  }
  const last = sources.at(-1);
  const isEnd = only !== undefined || sources.length < SOURCES_A_SEARCH || !last;
  return { rows, next: isEnd ? undefined : { afterId: last.id, key: undefined } };
}

/** The source in which the search stands first. */
function sourcesFrom(
  { catalogue }: Registry,
  place: SearchPlace | undefined,
  agentUid: string | undefined,
): Promise<SourceRow[]> {
  const afterId = !place ? 0 : place.key ? place.afterId - 1 : place.afterId;
  return catalogue.sources({ afterId, agentUid, limit: SOURCES_A_SEARCH });
}
