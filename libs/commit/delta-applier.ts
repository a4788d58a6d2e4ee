import type { DeltaMessage, DeltaSegment, Seal } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { copyBlockIds } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { RecordCursor, RecordOp } from '../model/records.ts';
import type { PieceTotals, Registry } from '../registry/port.ts';

/** What the applier asks for when a backup has all its pieces, or is past taking any. */
export interface BackupEnding {
  commit(backup: BackupInfo, seal: Seal, totals: PieceTotals): Promise<void>;
  /**
   * The backup is past taking pieces: one that is being committed, by somebody else or when an error came, is settled;
   * one that has ended is left.
   */
  settle(backup: BackupInfo): Promise<void>;
}

/** Which of the source's blocks the registry has. `ids`: n × 32 bytes; gives n bytes, 1 where present. */
export type BlockPresence = (sourceId: number, ids: Buffer) => Promise<Uint8Array>;

const takesPieces = ({ state }: BackupInfo): boolean => state === 'open' || state === 'sealed';

/**
 * Applies delta sets to the registry, ahead of the commit, under the backup's own seq; keeps the seal; and asks for
 * the commit when the last piece is in. Every effect is idempotent: pieces by (backup, shard, batch no).
 */
export class DeltaApplier {
  readonly #registry: Registry;
  readonly #present: BlockPresence;
  readonly #ending: BackupEnding;
  readonly #find: (backupId: string) => Promise<BackupInfo | undefined>;

  /**
   * `find`: a backup as it was once, for who knows it anyway: whether it still takes pieces is seen when they are written.
   * Default: the registry is asked.
   */
  constructor(
    registry: Registry,
    present: BlockPresence,
    ending: BackupEnding,
    find: (backupId: string) => Promise<BackupInfo | undefined> = (id) => registry.backups.get(id),
  ) {
    this.#find = find;
    this.#registry = registry;
    this.#present = present;
    this.#ending = ending;
  }

  async apply(messages: readonly DeltaMessage[]): Promise<void> {
    const byBackup = Map.groupBy(messages, (message) => message.header.backupId);
    for (const [backupId, pieces] of byBackup) await this.#applyToBackup(backupId, pieces);
  }

  async #applyToBackup(backupId: string, pieces: readonly DeltaMessage[]): Promise<void> {
    const backup = await this.#find(backupId);
    if (!backup) return; // late: dropped (promise 7)
    if (!takesPieces(backup)) return this.#ending.settle(backup);
    try {
      await this.#take(backup, pieces);
    } catch (error) {
      // Somebody else may have had the last piece too, or have ended the backup: then the error is of no account.
      const now = await this.#registry.backups.get(backupId);
      if (!now || takesPieces(now)) throw error;
      await this.#ending.settle(now);
    }
  }

  async #take(backup: BackupInfo, pieces: readonly DeltaMessage[]): Promise<void> {
    const seal = await this.#write(backup, pieces);
    if (!seal) return;
    const totals = await this.#registry.entries.totals(backup.id);
    const isComplete = seal.batches.every((count, shard) => (totals.batches[shard] ?? 0) >= count);
    if (isComplete) await this.#ending.commit(backup, seal, totals);
  }

  /** Gives the backup's seal, if it has one by then. */
  async #write(backup: BackupInfo, pieces: readonly DeltaMessage[]): Promise<Seal | undefined> {
    const { backups, entries } = this.#registry;
    const segments = pieces.filter((piece) => piece.type === 'segment');
    const seal = pieces.find((piece) => piece.type === 'seal');
    if (segments.length === 0) {
      if (seal) await backups.seal(backup.id, backup.epoch, seal);
      return seal;
    }
    await this.#checkBlocks(backup, segments);
    const applied = segments.map((segment) => ({ ...segment, ...segment.header }));
    return entries.apply(backup, applied, seal);
  }

  /** Promise 8: every block that an entry names is there. */
  async #checkBlocks(backup: BackupInfo, segments: readonly DeltaSegment[]): Promise<void> {
    const ids = blockIdsOf(segments);
    if (ids.length === 0) return;
    const present = await this.#present(backup.sourceId, ids);
    const lacking = present.indexOf(0);
    if (lacking >= 0)
      throw new TmError('TM1506', `block ${ids.toString('hex', lacking * 32, lacking * 32 + 32)}`);
  }
}

/** One behind the other. */
function blockIdsOf(segments: readonly DeltaSegment[]): Buffer {
  const ids = new ByteWriter(32 * segments.reduce((sum, { count }) => sum + count, 0));
  for (const { body } of segments) {
    const cursor = new RecordCursor(body);
    const state = new ByteReader(body);
    while (cursor.next()) {
      if (cursor.op !== RecordOp.present) continue;
      copyBlockIds(state.enter(cursor.stateAt, cursor.stateAt + cursor.stateLength), ids);
    }
  }
  return ids.view();
}
