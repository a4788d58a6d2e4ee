import { RecordOp } from '../../model/records.ts';
import type { EntryKey, EntryVersion, FoundPath, PageRequest } from '../port.ts';
import type { BinaryRow } from './binary-rows.ts';
import type { Database } from './database.ts';
import { PREFIX, spansAfter, type TreeScope, type TreeSpan } from './tree-spans.ts';

export const COLUMNS = 'dir_path, name, seq, op, hash, state, hints';

export const versionOf = (row: BinaryRow): EntryVersion => ({
  dir: row.bytes(0),
  name: row.bytes(1),
  seq: row.int8(2),
  op: row.int2(3) as RecordOp,
  hash: row.bytes(4),
  state: row.bytes(5),
  hints: row.bytes(6),
});

/** What a visitor sees of a version. */
export const entryOf = (row: BinaryRow): Pick<EntryVersion, 'dir' | 'name' | 'state' | 'hints'> => ({
  dir: row.bytes(0),
  name: row.bytes(1),
  state: row.bytes(5),
  hints: row.bytes(6),
});

export const foundOf = (row: BinaryRow): FoundPath => ({
  dir: row.bytes(0),
  name: row.bytes(1),
  seq: row.int8(2),
});

export const WHOLE_TREE: TreeScope = { within: Buffer.alloc(0), depth: 'all' };

/** Which versions of a source a page is of: the newest of each path with from < seq <= to. */
export interface SeqRange {
  readonly sourceId: number;
  readonly from: number;
  readonly to: number;
}

/** Rows that are read and sorted anew for each page, rather than passed over in the order of the tree. */
const FEW_ROWS = 20_000;

/** What is read by the index of the order stops where the page is full, whatever the planner takes the table for. */
const IN_INDEX_ORDER = `set local enable_seqscan = off; set local enable_bitmapscan = off;
  set local enable_sort = off; set local enable_hashjoin = off; set local enable_mergejoin = off`;

/**
 * The next versions of a scope in tree order; with `present`, those that are no tombstones. Keys are found and sorted
 * first, without the wide columns. Those come by the key: of `seq = since` alone the planner takes the index on source
 * and seq for as good where nobody has analyzed the table, and reads all of the source for each row.
 */
export async function* versionPage(
  db: Database,
  range: SeqRange,
  scope: TreeScope,
  page: PageRequest,
  present: boolean,
): AsyncGenerator<EntryVersion[]> {
  const { sourceId, from, to } = range;
  const text = ({ where, order }: TreeSpan, limit: number) => `
    select ${COLUMNS} from (
      select dir as in_dir, name as named, seq as since, prefix from (
        select distinct on (${order}) dir, name, seq, op, dir_path, prefix
        from (select *, ${PREFIX} as prefix from entries) as entries
        where source = $1 and seq > $2 and seq <= $3 and ${where} order by ${order}, seq desc) as newest
      ${present ? `where op = ${RecordOp.present}` : ''} order by ${order} limit ${limit}) as page
    join entries on source = $1 and dir = in_dir and name = named and seq + 0 = since
    order by ${order}`;
  const settings = (await isFew(db, range)) ? undefined : IN_INDEX_ORDER;
  yield* spanned(scope, page, (span, limit) =>
    db.pages(text(span, limit), [sourceId, from, to], versionOf, settings),
  );
}

/**
 * All of a scope as of `range.to`, in tree order, without the scope's own entry. Read by the index of that order: the
 * first rows come at once, nothing is spilled to disk, and a backup's rows lie on the disk much in this order.
 */
export async function* versionsWithin<T>(
  db: Database,
  { sourceId, to }: SeqRange,
  scope: TreeScope,
  read: (row: BinaryRow) => T,
): AsyncGenerator<T[]> {
  for (const { where, order } of spansAfter(scope, undefined)) {
    const text = `select ${COLUMNS} from (
      select distinct on (${order}) ${COLUMNS}, prefix from (select *, ${PREFIX} as prefix from entries) as entries
      where source = $1 and seq <= $2 and ${where} order by ${order}, seq desc) as newest
      where op = ${RecordOp.present} order by ${order}`;
    yield* db.pages(text, [sourceId, to], read, IN_INDEX_ORDER);
  }
}

/** All newest versions with seq <= `to`, tombstones among them, in tree order and by its index as in `versionsWithin`. */
export function versionsUpTo<T>(
  db: Database,
  { sourceId, to }: SeqRange,
  read: (row: BinaryRow) => T,
): AsyncGenerator<T[]> {
  const order = 'prefix, dir_path, name';
  const text = `select ${COLUMNS} from (
    select distinct on (${order}) ${COLUMNS}, prefix from (select *, ${PREFIX} as prefix from entries) as entries
    where source = $1 and seq <= $2 order by ${order}, seq desc) as newest order by ${order}`;
  return db.pages(text, [sourceId, to], read, IN_INDEX_ORDER);
}

async function isFew(db: Database, { sourceId, from, to }: SeqRange): Promise<boolean> {
  if (from === 0) return false;
  const { rows } = await db.query(
    `select count(*) < $4 as few from (
       select from entries where source = $1 and seq > $2 and seq <= $3 limit $4) as looked`,
    [sourceId, from, to, FEW_ROWS],
  );
  return rows[0].few;
}

/** As `EntriesTable.find`; kept seqs ascending. */
export function foundPage(
  db: Database,
  sourceId: number,
  keptSeqs: readonly number[],
  namePattern: Buffer,
  page: PageRequest,
): AsyncGenerator<FoundPath[]> {
  // A version is held by the kept seqs from its own up to the path's next version; the last of them counts.
  const text = ({ where, order }: TreeSpan, limit: number) => `
    select dir_path, name, holder from (
      select distinct on (${order}) dir_path, name, holder, prefix from (
        select dir_path, name, seq, op, prefix, ($2::bigint[])[width_bucket(
          coalesce(lag(seq) over (partition by ${order} order by seq desc) - 1, $3::bigint), $2::bigint[])] as holder
        from (select *, ${PREFIX} as prefix from entries) as entries
        where source = $1 and seq <= $3 and length(name) > 0 and name like $4::bytea and ${where}) as versions
      where op = ${RecordOp.present} and holder >= seq order by ${order}, seq desc) as newest
    order by ${order} limit ${limit}`;
  const values = [sourceId, keptSeqs, keptSeqs.at(-1) ?? 0, namePattern];
  return spanned(WHOLE_TREE, page, (span, limit) =>
    db.pages(text(span, limit), values, foundOf, IN_INDEX_ORDER),
  );
}

/** Span after span until the page is full. */
async function* spanned<T extends EntryKey>(
  scope: TreeScope,
  { after, limit }: PageRequest,
  read: (span: TreeSpan, limit: number) => AsyncIterable<T[]>,
): AsyncGenerator<T[]> {
  let left = limit;
  for (const span of spansAfter(scope, after)) {
    if (left <= 0) return;
    for await (const rows of read(span, left)) {
      left -= rows.length;
      yield rows;
    }
  }
}
