import { randomBytes, randomUUID } from 'node:crypto';
import type { Seal } from '../contracts/messages.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { blake3, DigestSum, EntryHasher } from '../model/digests.ts';
import { EntryType, encodeHints, encodeState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { type EntryRecord, RecordOp, RecordWriter } from '../model/records.ts';
import { fromSlashes } from '../model/tree-path.ts';
import type {
  AppliedSegment,
  CommitRequest,
  EntryKey,
  OpenedBackup,
  PageRequest,
  Registry,
  SourceRow,
} from './port.ts';

const EMPTY = Buffer.alloc(0);
const NO_HASH = Buffer.alloc(32);
export const NOW = new Date('2026-11-23T10:15:00Z');
const COUNTS = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };

/** The code of the TmError that the work ends with; `undefined` when it succeeds. */
export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof TmError) return error.code;
    throw error;
  }
}

export const newSource = (
  registry: Registry,
  root = `/${randomUUID()}`,
  domain = 'domain',
): Promise<SourceRow> =>
  registry.backups.ensureSource({
    uid: randomUUID(),
    agent: 'host',
    root: Buffer.from(root),
    key: randomBytes(32),
    domain,
  });

/** State of a file whose content is `n`, with `blocks` that it consists of. */
export function fileState(n: number, blocks: readonly Buffer[] = []): Buffer {
  const out = new ByteWriter(300);
  encodeState(
    {
      type: EntryType.file,
      flags: 0,
      mode: 0o644,
      uid: n % 1000,
      gid: 7,
      user: 'someone',
      group: '',
      mtimeSec: BigInt(n),
      mtimeNsec: 5,
      size: n,
      linkGroup: 0n,
      rdevMajor: 0,
      rdevMinor: 0,
      target: EMPTY,
      xattrs: [],
      digest: blake3(Buffer.from(String(n))),
      recipe: {
        depth: 0,
        items: blocks.map((id) => ({ kind: 'block', id, length: 1 })),
        holes: { kind: 'inline', holes: [] },
      },
    },
    out,
  );
  return out.finish();
}

export function hintsOf(n: number): Buffer {
  const out = new ByteWriter(32);
  encodeHints({ ctimeSec: BigInt(n), ctimeNsec: 1, dev: 2n, ino: BigInt(n), nlink: 1 }, out);
  return out.finish();
}

/** A path with slashes as directory and name; '' is the root. */
export function keyOf(path: string | Buffer): { dir: Buffer; name: Buffer } {
  const tree = fromSlashes(path);
  const cut = tree.lastIndexOf(0);
  return cut < 0 ? { dir: EMPTY, name: tree } : { dir: tree.subarray(0, cut), name: tree.subarray(cut + 1) };
}

export const present = (path: string | Buffer, n: number, blocks?: readonly Buffer[]): EntryRecord => ({
  ...keyOf(path),
  op: RecordOp.present,
  state: fileState(n, blocks),
  hints: hintsOf(n),
  code: 0,
});

export const gone = (path: string | Buffer): EntryRecord => ({
  ...keyOf(path),
  op: RecordOp.gone,
  state: EMPTY,
  hints: EMPTY,
  code: 0,
});

export const kept = (path: string | Buffer, code = 1110): EntryRecord => ({
  ...gone(path),
  op: RecordOp.kept,
  code,
});

export function bodyOf(records: readonly EntryRecord[]): Buffer {
  const writer = new RecordWriter();
  for (const record of records) writer.record(record);
  return writer.finish();
}

export const hashOf = (source: SourceRow, record: EntryRecord): Buffer =>
  record.op === RecordOp.present
    ? new EntryHasher(source.key).hash(record.dir, record.name, record.state)
    : NO_HASH;

/** A segment as the applier hands it to the registry. */
export function segmentOf(
  source: SourceRow,
  batchNo: number,
  records: readonly EntryRecord[],
  shard = 0,
): AppliedSegment {
  const body = bodyOf(records);
  const hashes = records.map((record) => hashOf(source, record));
  const added = new DigestSum();
  for (const hash of hashes) added.add(hash);
  return {
    shard,
    batchNo,
    batchCount: records.length,
    batchDigest: blake3(body),
    added: added.bytes(),
    removed: Buffer.alloc(32),
    counts: { ...COUNTS, added: records.length },
    body,
    hashes: Buffer.concat(hashes),
    asBaseline: Buffer.alloc(records.length),
  };
}

export function sealOf({ backup }: OpenedBackup, more: Partial<Seal> = {}): Seal {
  return {
    type: 'seal',
    header: {
      backupId: backup.id,
      sourceId: backup.sourceId,
      epoch: backup.epoch,
      shard: 0,
      batchNo: 0,
      schema: 1,
    },
    batches: [0],
    batchDigest: Buffer.alloc(32),
    stateDigest: Buffer.alloc(32, 1),
    totals: { files: 0, directories: 0, others: 0, bytes: 0, newBytes: 0, storedBytes: 0, problems: 0 },
    readFrom: NOW.getTime(),
    readTo: NOW.getTime() + 1,
    rootHint: '{}',
    ...more,
  };
}

export const committedEvent = (backupId: string): CommitRequest['events'][number] => ({
  type: 'backup.committed',
  data: { backupId },
});

export const commitOf = ({ backup }: OpenedBackup, more: Partial<CommitRequest> = {}): CommitRequest => ({
  backupId: backup.id,
  epoch: backup.epoch,
  stateDigest: Buffer.alloc(32, backup.seq),
  counts: {
    ...{ files: 1, directories: 2, others: 3, bytes: 2 ** 53 - 1, added: 4, changed: 5, metadata: 6 },
    ...{ deleted: 7, unchanged: 8, newBytes: 9, storedBytes: 10, problems: 11 },
  },
  readFrom: NOW,
  readTo: NOW,
  runs: [{ fromSeq: backup.baseSeq, toSeq: backup.seq, records: 1, parts: [] }],
  journal: { writer: 'writer', number: backup.seq, chain: Buffer.alloc(32, 9) },
  committedAt: NOW,
  rootHint: undefined,
  events: [committedEvent(backup.id)],
  ...more,
});

/** open → sealed → committing → committed. */
export async function commit(
  registry: Registry,
  opened: OpenedBackup,
  more: Partial<CommitRequest> = {},
): Promise<void> {
  const { id, epoch, seq } = opened.backup;
  await registry.backups.seal(id, epoch, sealOf(opened));
  await registry.backups.committing(id, epoch, { writer: 'writer', number: seq });
  await registry.backups.commit(commitOf(opened, more));
}

/** A committed backup with these records. */
export async function committedBackup(
  registry: Registry,
  source: SourceRow,
  kind: 'full' | 'differential',
  records: readonly EntryRecord[],
): Promise<OpenedBackup> {
  const opened = await registry.backups.open({ sourceId: source.id, kind, tags: {} }, NOW);
  await registry.entries.apply(opened.backup, [segmentOf(source, 0, records)]);
  await commit(registry, opened);
  return opened;
}

/** A read in one go, or a page of it. */
export type Read<T> = (page?: PageRequest) => AsyncIterable<readonly T[]>;

/** All of a read, page by page, each from the last key of the one before. */
export async function inPages<T>(read: Read<T>, keyOfRow: (row: T) => EntryKey, limit: number): Promise<T[]> {
  const all: T[] = [];
  for (let after: EntryKey | undefined; ; after = keyOfRow(all.at(-1)!)) {
    const page = await collect(read({ after, limit }));
    if (page.length > limit) throw new Error(`${page.length} of ${limit} in a page`);
    all.push(...page);
    if (page.length < limit) return all;
  }
}

export async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const page of pages) all.push(...page);
  return all;
}
