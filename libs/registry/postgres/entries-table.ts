import { setImmediate } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import type { Seal } from '../../contracts/messages.ts';
import type { BackupInfo } from '../../model/backup.ts';
import { ByteReader } from '../../model/byte-reader.ts';
import { DigestSum, directoryHash } from '../../model/digests.ts';
import { digestAt, digestOf, HINTS_BYTES } from '../../model/entry.ts';
import { RecordCursor, RecordOp, RecordWriter } from '../../model/records.ts';
import { baseName, parentPath, ROOT, type TreePath } from '../../model/tree-path.ts';
import type {
  AppliedSegment,
  EntriesTable,
  EntryChange,
  EntryKey,
  EntryVersion,
  FoundPath,
  PageRequest,
  PieceTotals,
  ProblemRow,
  RunBody,
} from '../port.ts';
import { checkOpen, lockBackup, SEAL, sealFromJson, sealToJson } from './backup-rows.ts';
import type { BinaryRow } from './binary-rows.ts';
import { CopyRows } from './copy-rows.ts';
import type { Database } from './database.ts';
import { dropUnseen } from './expiry.ts';
import {
  COLUMNS,
  entryOf,
  foundOf,
  foundPage,
  versionOf,
  versionPage,
  versionsUpTo,
  versionsWithin,
  WHOLE_TREE,
} from './tree-pages.ts';
import { isAfter } from './tree-spans.ts';

const EMPTY = Buffer.alloc(0);
const STATES_A_PAGE = 2000;
/** Versions that are compared at once, however few changes are asked for. */
const CHANGES_LOOKED_AT = 500;
const NO_COUNTS = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };

const RANGE = 'from entries where source = $1 and seq > $2 and seq <= $3';
/** All versions with $2 < seq <= $3: of one seq alone a path has one at most. */
const VERSIONS = `select ${COLUMNS} ${RANGE}`;
/** Newest version of each path with $2 < seq <= $3. */
const NEWEST = `select distinct on (dir, name) ${COLUMNS} ${RANGE}`;
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

  apply(backup: BackupInfo, segments: readonly AppliedSegment[], seal?: Seal): Promise<Seal | undefined> {
    return this.#db.transaction(
      async (client, [row]) => {
        checkOpen(row, backup.id, backup.epoch, ['open', 'sealed']);
        const fresh = await insertPieces(client, backup.id, segments, seal);
        if (fresh.length > 0) await this.#insertRows(client, backup, fresh);
        return seal ?? (row.seal ? sealFromJson(row.seal) : undefined);
      },
      lockBackup(backup.id, seal ? 'for update' : 'for share'),
    );
  }

  async #insertRows(
    client: PoolClient,
    backup: BackupInfo,
    segments: readonly AppliedSegment[],
  ): Promise<void> {
    const rows = new CopyRows(client, 'entries');
    const problems: ProblemRow[] = [];
    for (const segment of segments) {
      this.#segmentRows(rows, problems, backup, segment);
      await setImmediate(); // whoever else the process serves has a turn
    }
    await rows.end();
    await insertProblems(client, backup.sourceId, backup.seq, problems);
  }

  #segmentRows(rows: CopyRows, problems: ProblemRow[], backup: BackupInfo, segment: AppliedSegment): void {
    const cursor = new RecordCursor(segment.body);
    const states = new ByteReader(segment.body);
    let group = 0;
    let dirHash: Buffer = EMPTY;
    for (let i = 0; cursor.next(); i++) {
      if (cursor.op === RecordOp.kept) {
        const { dir, name, code } = cursor.record();
        problems.push({ dir, name, code });
        continue;
      }
      if (cursor.group !== group) dirHash = directoryHash(cursor.dir());
      group = cursor.group;
      recordRow(rows, states, cursor, { backup, dirHash, segment, i });
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
    options: Parameters<EntriesTable['list']>[2] = {},
  ): AsyncGenerator<EntryVersion[]> {
    const { within = ROOT, depth = 'all', page } = options;
    const self = { dir: parentPath(within), name: within.length === 0 ? EMPTY : baseName(within) };
    let left = page?.limit ?? Infinity;
    if (within.length > 0 && left > 0 && isAfter(self, page?.after)) {
      const [version] = await this.lookup(sourceId, seq, [self]);
      if (version) {
        left--;
        yield [version];
      }
    }
    const range = { sourceId, from: 0, to: seq };
    const scope = { within, depth };
    if (page) yield* versionPage(this.#db, range, scope, { ...page, limit: left }, true);
    else yield* versionsWithin(this.#db, range, scope, versionOf);
  }

  async visit(
    sourceId: number,
    seq: number,
    within: TreePath | undefined,
    visit: Parameters<EntriesTable['visit']>[3],
  ): Promise<void> {
    const at = within ?? ROOT;
    if (at.length > 0) {
      const [version] = await this.lookup(sourceId, seq, [{ dir: parentPath(at), name: baseName(at) }]);
      if (version) visit(version);
    }
    const range = { sourceId, from: 0, to: seq };
    const read = (row: BinaryRow) => visit(entryOf(row));
    for await (const _ of versionsWithin(this.#db, range, { within: at, depth: 'all' }, read));
  }

  async *changes(
    sourceId: number,
    fromSeq: number,
    toSeq: number,
    page?: PageRequest,
  ): AsyncGenerator<EntryChange[]> {
    if (!page) {
      const [from, to] = [Math.min(fromSeq, toSeq), Math.max(fromSeq, toSeq)];
      for await (const versions of this.versions(sourceId, from, to))
        yield* nonEmpty(await this.#changed(sourceId, fromSeq, toSeq, versions));
      return;
    }
    let { after, limit } = page;
    while (limit > 0) {
      const looked = Math.max(limit, CHANGES_LOOKED_AT);
      const versions = await this.#versionsAfter(sourceId, fromSeq, toSeq, after, looked);
      const changes = (await this.#changed(sourceId, fromSeq, toSeq, versions)).slice(0, limit);
      yield* nonEmpty(changes);
      if (versions.length < looked) return;
      limit -= changes.length;
      after = versions.at(-1);
    }
  }

  /** Newest versions between the two seqs: paths that may have changed. */
  async #versionsAfter(
    sourceId: number,
    oneSeq: number,
    otherSeq: number,
    after: EntryKey | undefined,
    limit: number,
  ): Promise<EntryVersion[]> {
    const range = { sourceId, from: Math.min(oneSeq, otherSeq), to: Math.max(oneSeq, otherSeq) };
    const versions: EntryVersion[] = [];
    for await (const some of versionPage(this.#db, range, WHOLE_TREE, { after, limit }, false))
      versions.push(...some);
    return versions;
  }

  /** Of the newest versions between the two seqs those that differ from what was before. */
  async #changed(
    sourceId: number,
    fromSeq: number,
    toSeq: number,
    versions: readonly EntryVersion[],
  ): Promise<EntryChange[]> {
    const before = await this.lookup(sourceId, Math.min(fromSeq, toSeq), versions);
    return versions.flatMap((version, i) => {
      const newer = version.op === RecordOp.present ? version : undefined;
      const older = before[i];
      if (!newer && !older) return [];
      if (newer && older && newer.hash.equals(older.hash)) return [];
      const key = { dir: version.dir, name: version.name };
      return fromSeq <= toSeq
        ? [{ key, before: older, after: newer }]
        : [{ key, before: newer, after: older }];
    });
  }

  async *versions(sourceId: number, fromSeq: number, toSeq: number): AsyncGenerator<EntryVersion[]> {
    yield* this.#db.pages(versionsText(fromSeq, toSeq), [sourceId, fromSeq, toSeq], versionOf);
  }

  async *runRecords(
    sourceId: number,
    fromSeq: number,
    toSeq: number,
    bodyBytes: number,
  ): AsyncGenerator<RunBody> {
    const writer = new RecordWriter();
    const bodies: RunBody[] = [];
    const take = () => bodies.push({ count: writer.count, body: writer.finish() });
    const read = (row: BinaryRow) => {
      copyRecord(row, writer);
      if (writer.bytes >= bodyBytes) take();
    };
    // By the index in tree order the first rows come at once; of a few versions among many it would read all.
    const rows =
      fromSeq === 0
        ? versionsUpTo(this.#db, { sourceId, from: 0, to: toSeq }, read)
        : this.#db.pages(versionsText(fromSeq, toSeq), [sourceId, fromSeq, toSeq], read);
    for await (const _ of rows) yield* bodies.splice(0);
    if (writer.count > 0) take();
    yield* bodies;
  }

  async *find(
    sourceId: number,
    keptSeqs: readonly number[],
    namePattern: Buffer,
    page?: PageRequest,
  ): AsyncGenerator<FoundPath[]> {
    const kept = [...keptSeqs].sort((a, b) => a - b);
    const head = kept.at(-1);
    if (head === undefined) return;
    if (page) return yield* foundPage(this.#db, sourceId, kept, namePattern, page);
    // A version is held by the kept seqs from its own up to the path's next version; the last of them counts.
    const text = `select * from (
        select distinct on (dir, name) dir_path as dir, name, holder as seq from (
          select dir, name, dir_path, seq, op, ($2::bigint[])[width_bucket(
            coalesce(lead(seq) over (partition by dir, name order by seq) - 1, $3::bigint), $2::bigint[])] as holder
          from entries where source = $1 and seq <= $3 and length(name) > 0 and name like $4::bytea) v
        where op = 1 and holder >= seq order by dir, name, seq desc) as newest
      order by dir, name`;
    yield* this.#db.pages(text, [sourceId, kept, head, namePattern], foundOf);
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
    const text = `select dir, name, seq, op, state from entries
      where source = $1 and (dir, name, seq) > ($2::bytea, $3::bytea, $4::bigint)
      order by dir, name, seq limit ${STATES_A_PAGE}`;
    let after: [dir: Buffer, name: Buffer, seq: number] = [EMPTY, EMPTY, 0];
    for (let count = STATES_A_PAGE; count === STATES_A_PAGE; ) {
      count = 0;
      for await (const rows of this.#db.pages(text, [sourceId, ...after], stateOf)) {
        yield rows.filter(({ op }) => op === RecordOp.present).map(({ state }) => state);
        count += rows.length;
        after = rows.at(-1)!.key;
      }
    }
  }
}

/** Of COLUMNS, as `versions` gives them. */
function versionsText(fromSeq: number, toSeq: number): string {
  const newest = toSeq - fromSeq === 1 ? VERSIONS : `${NEWEST} ${NEWEST_ORDER}`;
  return `select ${COLUMNS} from (${newest}) as newest ${IN_TREE_ORDER}`;
}

function copyRecord(row: BinaryRow, writer: RecordWriter): void {
  const op = row.int2(3) === RecordOp.present ? RecordOp.present : RecordOp.gone;
  writer.copy(op, {
    source: row.buffer,
    dirLength: row.length(0),
    dirAt: row.at(0),
    nameLength: row.length(1),
    nameAt: row.at(1),
    stateLength: row.length(5),
    stateAt: row.at(5),
    hintsAt: row.at(6),
  });
}

const stateOf = (row: BinaryRow): { key: [Buffer, Buffer, number]; op: number; state: Buffer } => ({
  key: [row.bytes(0), row.bytes(1), row.int8(2)],
  op: row.int2(3),
  state: row.bytes(4),
});

function* nonEmpty<T>(page: T[]): Generator<T[]> {
  if (page.length > 0) yield page;
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

const DIGEST_BYTES = 32;

/** As `writeRow`, of record `i` of a segment where the cursor is, without an object for it. */
function recordRow(
  rows: CopyRows,
  states: ByteReader,
  { body, op, dirAt, dirLength, nameAt, nameLength, stateAt, stateLength }: RecordCursor,
  of: { backup: BackupInfo; dirHash: Buffer; segment: AppliedSegment; i: number },
): void {
  const { backup, dirHash, segment, i } = of;
  const isPresent = op === RecordOp.present;
  const hintsAt = stateAt + stateLength;
  rows.row(11).int4(backup.sourceId).bytes(dirHash).range(body, nameAt, nameLength);
  rows
    .int8(backup.seq)
    .int2(op)
    .bool(segment.asBaseline[i] === 1);
  rows.range(segment.hashes, i * 32, isPresent ? 32 : 0);
  const digest = isPresent ? digestAt(states.enter(stateAt, hintsAt)) : undefined;
  if (digest === undefined) rows.bytes(undefined);
  else rows.range(body, digest, DIGEST_BYTES);
  rows.range(body, dirAt, dirLength).range(body, stateAt, stateLength);
  rows.range(body, hintsAt, isPresent ? HINTS_BYTES : 0);
}

/** Gives those that were not there, and seals. In one order by all, so that no two wait for each other. */
async function insertPieces(
  client: PoolClient,
  backupId: string,
  unordered: readonly AppliedSegment[],
  seal: Seal | undefined,
): Promise<AppliedSegment[]> {
  const segments = unordered.toSorted((a, b) => a.shard - b.shard || a.batchNo - b.batchNo);
  const { rows } = await client.query({
    name: 'pieces',
    text: `with sealed as (${SEAL.replace('$2', '$8')} and $8::jsonb is not null)
      insert into pieces (backup, shard, batch_no, digest, added, removed, counts)
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
      seal ? sealToJson(seal) : null,
    ],
  });
  const isNew = new Set(rows.map((row) => `${row.shard} ${row.batch_no}`));
  // A piece may come twice in one call: its first one counts.
  return segments.filter((one) => isNew.delete(`${one.shard} ${one.batchNo}`));
}

async function insertProblems(
  client: PoolClient,
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
