import type {
  ChangeBatch,
  ChangeMessage,
  DeltaMessage,
  DeltaSegment,
  PieceCounts,
} from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blake3, DigestSum, EntryHasher } from '../model/digests.ts';
import { decodeState, type EntryState } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { type EntryRecord, RecordOp, RecordWriter, readRecords } from '../model/records.ts';
import type { EntriesTable, EntryVersion, SourceRow } from '../registry/port.ts';

/** What the calculator has to know of a backup; fixed at open. */
export interface BackupContext {
  readonly backup: BackupInfo;
  readonly source: SourceRow;
}

const NO_HASH = Buffer.alloc(32);
const KEYS_A_QUERY = 1000;

type Tally = { -readonly [K in keyof PieceCounts]: PieceCounts[K] };

/** A record with its entry hash, what the base has of the path, and whether the record differs from that. */
interface Compared {
  readonly record: EntryRecord;
  readonly hash: Buffer;
  readonly base: EntryVersion | undefined;
  readonly differs: boolean;
}

/**
 * Turns change events into delta-set segments: compares each record with the registry as of the backup's base (never
 * with "now", so that a replay gives the same bytes), drops what is equal, and says what equals the baseline again.
 * Holds nothing between messages but the contexts it was given.
 */
export class DeltaCalculator {
  readonly #entries: Pick<EntriesTable, 'lookup'>;
  readonly #context: (backupId: string) => Promise<BackupContext>;
  readonly #hashers = new Map<number, EntryHasher>();

  constructor(entries: Pick<EntriesTable, 'lookup'>, context: (backupId: string) => Promise<BackupContext>) {
    this.#entries = entries;
    this.#context = context;
  }

  async calculate(message: ChangeMessage): Promise<DeltaMessage> {
    if (message.type === 'seal') return message;
    const context = await this.#context(message.header.backupId);
    const records = checkedRecords(message);
    const compared = await this.#compare(context, records);
    const asBaseline = await this.#againAsBaseline(context, compared);
    return segmentOf(message, compared, asBaseline);
  }

  #hasher(source: SourceRow): EntryHasher {
    let hasher = this.#hashers.get(source.id);
    if (!hasher) {
      hasher = new EntryHasher(source.key);
      this.#hashers.set(source.id, hasher);
    }
    return hasher;
  }

  async #lookup(
    sourceId: number,
    seq: number,
    keys: readonly EntryRecord[],
  ): Promise<(EntryVersion | undefined)[]> {
    if (seq === 0) return keys.map(() => undefined);
    const found: (EntryVersion | undefined)[] = [];
    for (let at = 0; at < keys.length; at += KEYS_A_QUERY) {
      found.push(...(await this.#entries.lookup(sourceId, seq, keys.slice(at, at + KEYS_A_QUERY))));
    }
    return found;
  }

  async #compare({ backup, source }: BackupContext, records: readonly EntryRecord[]): Promise<Compared[]> {
    const hasher = this.#hasher(source);
    const bases = await this.#lookup(source.id, backup.baseSeq, records);
    return records.map((record, i) => {
      const base = bases[i];
      if (record.op !== RecordOp.present) {
        const differs = record.op === RecordOp.kept || base !== undefined;
        return { record, hash: NO_HASH, base, differs };
      }
      const hash = hasher.hash(record.dir, record.name, record.state);
      return { record, hash, base, differs: !base?.hash.equals(hash) };
    });
  }

  /** For each differing record: 1 where the baseline has the very same state (or has not the path that is gone). */
  async #againAsBaseline(
    { backup, source }: BackupContext,
    compared: readonly Compared[],
  ): Promise<Map<Compared, boolean>> {
    const again = new Map<Compared, boolean>();
    if (backup.kind === 'full' || backup.baselineSeq === backup.baseSeq) return again;
    const differing = compared.filter((one) => one.differs && one.record.op !== RecordOp.kept);
    const baselines = await this.#lookup(
      source.id,
      backup.baselineSeq,
      differing.map((one) => one.record),
    );
    differing.forEach((one, i) => {
      const there = baselines[i];
      again.set(
        one,
        one.record.op === RecordOp.gone ? there === undefined : there?.hash.equals(one.hash) === true,
      );
    });
    return again;
  }
}

function checkedRecords(batch: ChangeBatch): EntryRecord[] {
  if (!blake3(batch.body).equals(batch.digest))
    throw new TmError('TM1505', 'the batch differs from its digest');
  const records = [...readRecords(batch.body)];
  if (records.length !== batch.count)
    throw new TmError('TM1505', `${records.length} records instead of ${batch.count}`);
  return records;
}

function segmentOf(
  batch: ChangeBatch,
  compared: readonly Compared[],
  again: Map<Compared, boolean>,
): DeltaSegment {
  const hashes: Buffer[] = [];
  const flags: number[] = [];
  const added = new DigestSum();
  const removed = new DigestSum();
  const counts: Tally = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };
  for (const one of compared) {
    counts[kindOf(one)]++;
    if (!one.differs) continue;
    hashes.push(one.hash);
    flags.push(again.get(one) ? 1 : 0);
    if (one.record.op === RecordOp.kept) continue;
    added.add(one.hash);
    if (one.base) removed.add(one.base.hash);
  }
  return {
    type: 'segment',
    header: batch.header,
    batchCount: batch.count,
    batchDigest: batch.digest,
    count: hashes.length,
    hashes: Buffer.concat(hashes),
    asBaseline: Buffer.from(flags),
    added: added.bytes(),
    removed: removed.bytes(),
    counts,
    body: bodyOf(batch, compared, hashes.length),
  };
}

/** The differing records; mostly that is the batch as it came. */
function bodyOf(batch: ChangeBatch, compared: readonly Compared[], differing: number): Buffer {
  if (differing === compared.length) return batch.body;
  const writer = new RecordWriter();
  for (const { differs, record } of compared) if (differs) writer.record(record);
  return writer.finish();
}

function kindOf({ record, base, differs }: Compared): keyof PieceCounts {
  if (record.op === RecordOp.kept) return 'kept';
  if (!differs) return 'equal';
  if (record.op === RecordOp.gone) return 'deleted';
  if (!base) return 'added';
  return sameContent(decodeState(base.state), decodeState(record.state)) ? 'metadata' : 'changed';
}

/** True when two states of a path differ in metadata at most: same type, content, target and device. */
export function sameContent(a: EntryState, b: EntryState): boolean {
  if (a.type !== b.type || !a.target.equals(b.target)) return false;
  if (a.rdevMajor !== b.rdevMajor || a.rdevMinor !== b.rdevMinor) return false;
  if (a.digest && b.digest) return a.digest.equals(b.digest) && a.size === b.size;
  return a.digest === b.digest;
}
