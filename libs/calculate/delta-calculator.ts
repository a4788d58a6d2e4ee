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
import { type EntryRecord, RecordCursor, RecordOp, RecordWriter, readRecords } from '../model/records.ts';
import type { FixedSource } from '../registry/fixed-sources.ts';
import type { EntriesTable, EntryVersion } from '../registry/port.ts';

/** What the calculator has to know of a backup; fixed at open. */
export interface BackupContext {
  readonly backup: BackupInfo;
  readonly source: FixedSource;
}

const KEYS_A_QUERY = 1000;

type Tally = { -readonly [K in keyof PieceCounts]: PieceCounts[K] };

/** A batch's records, by their number in it, beside what the base has of their paths. */
interface Compared {
  readonly ops: Uint8Array;
  /** Entry hashes, 32 bytes each; zeros for gone and kept records. */
  readonly hashes: Buffer;
  /** 1 where the record differs from the base. */
  readonly differs: Uint8Array;
  /** Made when first wanted: of a source's first backup nobody wants them. */
  readonly records: () => readonly EntryRecord[];
  /** Empty where there is no base. */
  readonly bases: readonly (EntryVersion | undefined)[];
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
    const compared = await this.#compare(context, message);
    const asBaseline = await this.#againAsBaseline(context, compared);
    return segmentOf(message, compared, asBaseline);
  }

  #hasher(source: FixedSource): EntryHasher {
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
    const found: (EntryVersion | undefined)[] = [];
    for (let at = 0; at < keys.length; at += KEYS_A_QUERY) {
      found.push(...(await this.#entries.lookup(sourceId, seq, keys.slice(at, at + KEYS_A_QUERY))));
    }
    return found;
  }

  async #compare({ backup, source }: BackupContext, batch: ChangeBatch): Promise<Compared> {
    const { ops, hashes } = hashesOf(batch, this.#hasher(source));
    let made: EntryRecord[] | undefined;
    const records = () => {
      made ??= [...readRecords(batch.body)];
      return made;
    };
    const bases = backup.baseSeq === 0 ? [] : await this.#lookup(source.id, backup.baseSeq, records());
    const differs = ops.map((op, i) => {
      const base = bases[i];
      if (op === RecordOp.kept) return 1;
      if (op === RecordOp.gone) return base ? 1 : 0;
      return base && hashes.compare(base.hash, 0, 32, i * 32, i * 32 + 32) === 0 ? 0 : 1;
    });
    return { ops, hashes, differs, records, bases };
  }

  /** One byte for each record: 1 where it differs and the baseline has the very same state (or has not the path that is gone). */
  async #againAsBaseline({ backup, source }: BackupContext, compared: Compared): Promise<Uint8Array> {
    const { ops, hashes, differs, records } = compared;
    const again = new Uint8Array(ops.length);
    if (backup.kind === 'full' || backup.baselineSeq === backup.baseSeq) return again;
    const differing = numbersOf(differs).filter((i) => ops[i] !== RecordOp.kept);
    const keys = differing.map((i) => records()[i]!);
    const baselines = backup.baselineSeq === 0 ? [] : await this.#lookup(source.id, backup.baselineSeq, keys);
    differing.forEach((i, n) => {
      const there = baselines[n];
      const isAgain =
        ops[i] === RecordOp.gone ? !there : there?.hash.equals(hashes.subarray(i * 32, i * 32 + 32));
      again[i] = isAgain ? 1 : 0;
    });
    return again;
  }
}

const numbersOf = (marks: Uint8Array): number[] => Array.from(marks.keys()).filter((i) => marks[i] === 1);

/** Throws TM1505 where the batch is not what its digest and count say. */
function hashesOf(batch: ChangeBatch, hasher: EntryHasher): Pick<Compared, 'ops' | 'hashes'> {
  if (!blake3(batch.body).equals(batch.digest))
    throw new TmError('TM1505', 'the batch differs from its digest');
  const ops = new Uint8Array(batch.count);
  const hashes = Buffer.alloc(batch.count * 32);
  const cursor = new RecordCursor(batch.body);
  let count = 0;
  for (; cursor.next(); count++) {
    if (count >= batch.count) continue;
    ops[count] = cursor.op;
    if (cursor.op === RecordOp.present) hasher.hashRecord(cursor, hashes, count * 32);
  }
  if (count !== batch.count) throw new TmError('TM1505', `${count} records instead of ${batch.count}`);
  return { ops, hashes };
}

function segmentOf(batch: ChangeBatch, compared: Compared, again: Uint8Array): DeltaSegment {
  const { ops, hashes, differs, bases } = compared;
  const added = new DigestSum();
  const removed = new DigestSum();
  const counts: Tally = { added: 0, changed: 0, metadata: 0, deleted: 0, equal: 0, kept: 0 };
  for (let i = 0; i < ops.length; i++) {
    counts[kindOf(compared, i)]++;
    if (!differs[i] || ops[i] === RecordOp.kept) continue;
    added.add(hashes, i * 32);
    const base = bases[i];
    if (base) removed.add(base.hash);
  }
  return {
    type: 'segment',
    header: batch.header,
    batchCount: batch.count,
    batchDigest: batch.digest,
    ...differingOf(batch, compared, again),
    added: added.bytes(),
    removed: removed.bytes(),
    counts,
  };
}

/** The differing records; mostly that is the batch as it came. */
function differingOf(
  batch: ChangeBatch,
  { hashes, differs, records }: Compared,
  again: Uint8Array,
): Pick<DeltaSegment, 'count' | 'hashes' | 'asBaseline' | 'body'> {
  const differing = numbersOf(differs);
  const count = differing.length;
  if (count === differs.length) return { count, hashes, asBaseline: Buffer.from(again), body: batch.body };
  const writer = new RecordWriter();
  for (const i of differing) writer.record(records()[i]!);
  return {
    count,
    hashes: Buffer.concat(differing.map((i) => hashes.subarray(i * 32, i * 32 + 32))),
    asBaseline: Buffer.from(differing.map((i) => again[i]!)),
    body: writer.finish(),
  };
}

function kindOf({ ops, differs, records, bases }: Compared, i: number): keyof PieceCounts {
  if (ops[i] === RecordOp.kept) return 'kept';
  if (!differs[i]) return 'equal';
  if (ops[i] === RecordOp.gone) return 'deleted';
  const base = bases[i];
  if (!base) return 'added';
  return sameContent(decodeState(base.state), decodeState(records()[i]!.state)) ? 'metadata' : 'changed';
}

/** True when two states of a path differ in metadata at most: same type, content, target and device. */
export function sameContent(a: EntryState, b: EntryState): boolean {
  if (a.type !== b.type || !a.target.equals(b.target)) return false;
  if (a.rdevMajor !== b.rdevMajor || a.rdevMinor !== b.rdevMinor) return false;
  if (a.digest && b.digest) return a.digest.equals(b.digest) && a.size === b.size;
  return a.digest === b.digest;
}
