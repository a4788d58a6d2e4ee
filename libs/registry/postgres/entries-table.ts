import type { BackupInfo } from '../../model/backup.ts';
import { DigestSum, directoryHash } from '../../model/digests.ts';
import { digestOf } from '../../model/entry.ts';
import { RecordOp, readRecords } from '../../model/records.ts';
import { baseName, isWithin, parentPath, ROOT, type TreePath } from '../../model/tree-path.ts';
import type {
  AppliedSegment,
  EntriesTable,
  EntryKey,
  EntryVersion,
  FoundPath,
  PieceTotals,
  ProblemRow,
} from '../port.ts';
import { lockOpen } from './backup-rows.ts';
import type { BinaryRow } from './binary-rows.ts';
import { CopyRows } from './copy-rows.ts';
import type { Database } from './database.ts';
import { dropUnseen } from './expiry.ts';

const EMPTY = Buffer.alloc(0);
const STATES_A_PAGE = 2000;
const NO_COUNTS = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };

const COLUMNS = 'dir_path, name, seq, op, hash, state, hints';

const versionOf = (row: BinaryRow): EntryVersion => ({
  dir: row.bytes(0),
  name: row.bytes(1),
  seq: row.int8(2),
  op: row.int2(3) as RecordOp,
  hash: row.bytes(4),
  state: row.bytes(5),
  hints: row.bytes(6),
});

/** Newest version of each path with $2 < seq <= $3. */
const NEWEST = `select distinct on (dir, name) ${COLUMNS} from entries
  where source = $1 and seq > $2 and seq <= $3`;
/** That of the primary key, backwards: nothing is sorted. */
const NEWEST_ORDER = 'order by dir desc, name desc, seq desc';
const IN_TREE_ORDER = 'order by dir_path, name';

/** Hashes of directories, the last one kept: rows come by directory. */
class DirectoryHashes {
  #dir: Buffer | undefined;
  #hash: Buffer = EMPTY;

  of(dir: TreePath): Buffer {
    if (!this.#dir?.equals(dir)) {
      this.#dir = Buffer.from(dir);
      this.#hash = directoryHash(dir);
    }
    return this.#hash;
  }
}

export class PostgresEntries implements EntriesTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async apply(backup: BackupInfo, segments: readonly AppliedSegment[]): Promise<void> {
    await this.#db.transaction(async (client) => {
      await lockOpen(client, backup.id, backup.epoch);
      const fresh = await insertPieces(client, backup.id, segments);
      if (fresh.length === 0) return;
      const rows = new CopyRows(client, 'entries');
      const problems: ProblemRow[] = [];
      for (const segment of fresh) this.#segmentRows(rows, problems, backup, segment);
      await rows.end();
      await insertProblems(client, backup.sourceId, backup.seq, problems);
    });
  }

  #segmentRows(rows: CopyRows, problems: ProblemRow[], backup: BackupInfo, segment: AppliedSegment): void {
    const hashes = new DirectoryHashes();
    let i = 0;
    for (const { op, dir, name, state, hints, code } of readRecords(segment.body)) {
      if (op === RecordOp.kept) problems.push({ dir, name, code });
      else {
        const hash = op === RecordOp.gone ? EMPTY : segment.hashes.subarray(i * 32, i * 32 + 32);
        const asBaseline = segment.asBaseline[i] === 1;
        writeRow(
          rows,
          hashes.of(dir),
          backup.sourceId,
          { dir, name, seq: backup.seq, op, hash, state, hints },
          asBaseline,
        );
      }
      i++;
    }
  }

  async totals(backupId: string): Promise<PieceTotals> {
    const { rows } = await this.#db.query(
      'select shard, digest, added, removed, counts from pieces where backup = $1',
      [backupId],
    );
    const batches: number[] = [];
    const [digest, added, removed] = [new DigestSum(), new DigestSum(), new DigestSum()];
    const counts = { ...NO_COUNTS };
    for (const row of rows) {
      batches[row.shard] = (batches[row.shard] ?? 0) + 1;
      digest.add(row.digest);
      added.add(row.added);
      removed.add(row.removed);
      for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += row.counts[key];
    }
    const filled = Array.from({ length: Math.max(1, batches.length) }, (_, shard) => batches[shard] ?? 0);
    return {
      batches: filled,
      batchDigest: digest.bytes(),
      added: added.bytes(),
      removed: removed.bytes(),
      counts,
    };
  }

  async lookup(
    sourceId: number,
    seq: number,
    keys: readonly EntryKey[],
  ): Promise<(EntryVersion | undefined)[]> {
    if (keys.length === 0) return [];
    const hashes = new DirectoryHashes();
    const { rows } = await this.#db.prepared(
      'lookup',
      `select k.at::int as at, e.seq, e.op, e.hash, e.state, e.hints
       from unnest($3::bytea[], $4::bytea[]) with ordinality as k(dir, name, at)
       cross join lateral (select seq, op, hash, state, hints from entries
         where source = $1 and dir = k.dir and name = k.name and seq <= $2 order by seq desc limit 1) e`,
      [sourceId, seq, keys.map(({ dir }) => hashes.of(dir)), keys.map(({ name }) => name)],
    );
    const found: (EntryVersion | undefined)[] = keys.map(() => undefined);
    for (const row of rows) {
      const key = keys[row.at - 1]!;
      const { seq, op, hash, state, hints } = row;
      if (op === RecordOp.present)
        found[row.at - 1] = { dir: key.dir, name: key.name, seq, op, hash, state, hints };
    }
    return found;
  }

  async *list(
    sourceId: number,
    seq: number,
    {
      within = ROOT,
      depth = 'all',
    }: { readonly within?: TreePath; readonly depth?: 'children' | 'all' } = {},
  ): AsyncGenerator<EntryVersion[]> {
    const [self] = await this.lookup(sourceId, seq, [
      { dir: parentPath(within), name: within.length === 0 ? EMPTY : baseName(within) },
    ]);
    if (self && within.length > 0) yield [self];
    const below =
      depth === 'children'
        ? 'and dir = $4'
        : within.length === 0
          ? ''
          : 'and (dir = $4 or (dir_path >= $5 and dir_path < $6))';
    const values: (number | Buffer)[] = [sourceId, 0, seq];
    if (below) values.push(directoryHash(within));
    if (below.includes('$5'))
      values.push(Buffer.concat([within, Buffer.from([0])]), Buffer.concat([within, Buffer.from([1])]));
    const text = `select ${COLUMNS} from (${NEWEST} ${below} ${NEWEST_ORDER}) as newest where op = 1 ${IN_TREE_ORDER}`;
    for await (const page of this.#db.pages(text, values, versionOf)) {
      const versions = page.filter((one) => depth === 'all' || isWithin(one.dir, within));
      if (versions.length > 0) yield versions;
    }
  }

  async *changes(
    sourceId: number,
    fromSeq: number,
    toSeq: number,
  ): AsyncGenerator<{ key: EntryKey; before: EntryVersion | undefined; after: EntryVersion | undefined }[]> {
    const [low, high] = fromSeq <= toSeq ? [fromSeq, toSeq] : [toSeq, fromSeq];
    for await (const versions of this.versions(sourceId, low, high)) {
      const before = await this.lookup(sourceId, low, versions);
      const page = versions.flatMap((version, i) => {
        const newer = version.op === RecordOp.present ? version : undefined;
        const older = before[i];
        if (!newer && !older) return [];
        if (newer && older && newer.hash.equals(older.hash)) return [];
        const key = { dir: version.dir, name: version.name };
        return fromSeq <= toSeq
          ? [{ key, before: older, after: newer }]
          : [{ key, before: newer, after: older }];
      });
      if (page.length > 0) yield page;
    }
  }

  async *versions(sourceId: number, fromSeq: number, toSeq: number): AsyncGenerator<EntryVersion[]> {
    const text = `select ${COLUMNS} from (${NEWEST} ${NEWEST_ORDER}) as newest ${IN_TREE_ORDER}`;
    yield* this.#db.pages(text, [sourceId, fromSeq, toSeq], versionOf);
  }

  async *find(
    sourceId: number,
    keptSeqs: readonly number[],
    namePattern: Buffer,
  ): AsyncGenerator<FoundPath[]> {
    const kept = [...keptSeqs].sort((a, b) => a - b);
    const head = kept.at(-1);
    if (head === undefined) return;
    // A version is held by the kept seqs from its own up to the path's next version; the last of them counts.
    const text = `select * from (
        select distinct on (dir, name) dir_path as dir, name, holder as seq from (
          select dir, name, dir_path, seq, op, ($2::bigint[])[width_bucket(
            coalesce(lead(seq) over (partition by dir, name order by seq) - 1, $3::bigint), $2::bigint[])] as holder
          from entries where source = $1 and seq <= $3 and length(name) > 0 and name like $4::bytea) v
        where op = 1 and holder >= seq order by dir, name, seq desc) as newest
      order by dir, name`;
    yield* this.#db.pages(text, [sourceId, kept, head, namePattern], (row) => ({
      dir: row.bytes(0),
      name: row.bytes(1),
      seq: row.int8(2),
    }));
  }

  async insert(
    sourceId: number,
    versions: readonly EntryVersion[],
    problems: readonly (ProblemRow & { seq: number })[],
  ): Promise<void> {
    await this.#db.transaction(async (client) => {
      const rows = new CopyRows(client, 'entries');
      const hashes = new DirectoryHashes();
      for (const version of versions) writeRow(rows, hashes.of(version.dir), sourceId, version, false);
      await rows.end();
      for (const [seq, some] of Map.groupBy(problems, (problem) => problem.seq))
        await insertProblems(client, sourceId, seq, some);
    });
  }

  async remove(sourceId: number, seq: number): Promise<void> {
    await this.#db.transaction(async (client) => {
      await client.query('delete from entries where source = $1 and seq = $2', [sourceId, seq]);
      await client.query('delete from problems where source = $1 and seq = $2', [sourceId, seq]);
    });
  }

  dropUnseen(sourceId: number): Promise<number> {
    return dropUnseen(this.#db, sourceId);
  }

  async *allStates(domain: string): AsyncGenerator<Buffer[]> {
    const { rows: sources } = await this.#db.query('select id from sources where domain = $1 order by id', [
      domain,
    ]);
    for (const { id } of sources) yield* this.#statesOf(id);
  }

  /** Page by page, each a query of its own. */
  async *#statesOf(sourceId: number): AsyncGenerator<Buffer[]> {
    let after: unknown[] = [EMPTY, EMPTY, 0];
    for (;;) {
      const { rows } = await this.#db.prepared(
        'states',
        `select dir, name, seq, op, state from entries
         where source = $1 and (dir, name, seq) > ($2::bytea, $3::bytea, $4::bigint)
         order by dir, name, seq limit ${STATES_A_PAGE}`,
        [sourceId, ...after],
      );
      yield rows.filter((row) => row.op === RecordOp.present).map((row) => row.state as Buffer);
      if (rows.length < STATES_A_PAGE) return;
      const { dir, name, seq } = rows.at(-1);
      after = [dir, name, seq];
    }
  }
}

function writeRow(
  rows: CopyRows,
  dirHash: Buffer,
  source: number,
  version: EntryVersion,
  asBaseline: boolean,
): void {
  const { dir, name, seq, op, hash, state, hints } = version;
  const digest = op === RecordOp.present ? digestOf(state) : undefined;
  rows.row(11).int4(source).bytes(dirHash).bytes(name).int8(seq).int2(op).bool(asBaseline).bytes(hash);
  rows.bytes(digest).bytes(dir).bytes(state).bytes(hints);
}

/** Gives those that were not there. */
async function insertPieces(
  client: import('pg').PoolClient,
  backupId: string,
  segments: readonly AppliedSegment[],
): Promise<AppliedSegment[]> {
  const { rows } = await client.query({
    name: 'pieces',
    text: `insert into pieces (backup, shard, batch_no, digest, added, removed, counts)
      select $1, p.* from unnest($2::int[], $3::int[], $4::bytea[], $5::bytea[], $6::bytea[], $7::jsonb[]) as p
      on conflict do nothing returning shard, batch_no`,
    values: [
      backupId,
      segments.map((one) => one.shard),
      segments.map((one) => one.batchNo),
      segments.map((one) => one.batchDigest),
      segments.map((one) => one.added),
      segments.map((one) => one.removed),
      segments.map((one) => JSON.stringify(one.counts)),
    ],
  });
  const isNew = new Set(rows.map((row) => `${row.shard} ${row.batch_no}`));
  // A piece may come twice in one call: its first one counts.
  return segments.filter((one) => isNew.delete(`${one.shard} ${one.batchNo}`));
}

async function insertProblems(
  client: import('pg').PoolClient,
  source: number,
  seq: number,
  problems: readonly ProblemRow[],
): Promise<void> {
  if (problems.length === 0) return;
  await client.query(
    `insert into problems (source, seq, dir_path, name, code)
     select $1, $2, p.dir, p.name, p.code from unnest($3::bytea[], $4::bytea[], $5::int[]) as p(dir, name, code) on conflict do nothing`,
    [
      source,
      seq,
      problems.map((one) => one.dir),
      problems.map((one) => one.name),
      problems.map((one) => one.code),
    ],
  );
}
