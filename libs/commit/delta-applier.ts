import type { DeltaMessage, DeltaSegment, Seal } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { blockIdsIn } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { RecordOp, readRecords } from '../model/records.ts';
import type { Registry } from '../registry/port.ts';

/** What the applier asks for when a backup has all its pieces, or is past taking any. */
export interface BackupEnding {
  commit(backup: BackupInfo, seal: Seal): Promise<void>;
  /** A piece came again: a backup that was being committed when an error came is settled, one that has ended is left. */
  settle(backup: BackupInfo): Promise<void>;
}

/**
 * Applies delta sets to the registry, ahead of the commit, under the backup's own seq; keeps the seal; and asks for
 * the commit when the last piece is in. Every effect is idempotent: pieces by (backup, shard, batch no).
 */
export class DeltaApplier {
  readonly #registry: Registry;
  readonly #domainOf: (sourceId: number) => Promise<string>;
  readonly #ending: BackupEnding;

  constructor(registry: Registry, domainOf: (sourceId: number) => Promise<string>, ending: BackupEnding) {
    this.#registry = registry;
    this.#domainOf = domainOf;
    this.#ending = ending;
  }

  async apply(messages: readonly DeltaMessage[]): Promise<void> {
    const byBackup = Map.groupBy(messages, (message) => message.header.backupId);
    for (const [backupId, pieces] of byBackup) await this.#applyToBackup(backupId, pieces);
  }

  async #applyToBackup(backupId: string, pieces: readonly DeltaMessage[]): Promise<void> {
    const backup = await this.#registry.backups.get(backupId);
    if (!backup) return; // late: dropped (promise 7)
    if (backup.state !== 'open' && backup.state !== 'sealed') return this.#ending.settle(backup);
    const segments = pieces.filter((piece) => piece.type === 'segment');
    if (segments.length > 0) {
      await this.#checkBlocks(backup, segments);
      await this.#registry.entries.apply(
        backup,
        segments.map((segment) => ({ ...segment, ...segment.header })),
      );
    }
    const sealed = pieces.find((piece) => piece.type === 'seal');
    if (sealed) await this.#registry.backups.seal(backupId, backup.epoch, sealed);
    const seal = sealed ?? (await this.#registry.backups.sealOf(backupId));
    if (seal && (await this.#complete(backupId, seal))) await this.#ending.commit(backup, seal);
  }

  /** Promise 8: every block that an entry names is there. */
  async #checkBlocks(backup: BackupInfo, segments: readonly DeltaSegment[]): Promise<void> {
    const domain = await this.#domainOf(backup.sourceId);
    const ids = new Map<string, Buffer>();
    for (const segment of segments) {
      for (const record of readRecords(segment.body)) {
        if (record.op !== RecordOp.present) continue;
        for (const id of blockIdsIn(record.state)) ids.set(id.toString('latin1'), id);
      }
    }
    if (ids.size === 0) return;
    const present = await this.#registry.blocks.present(domain, Buffer.concat([...ids.values()]));
    const lacking = present.indexOf(0);
    if (lacking >= 0) throw new TmError('TM1506', `block ${[...ids.values()][lacking]!.toString('hex')}`);
  }

  async #complete(backupId: string, seal: Seal): Promise<boolean> {
    const totals = await this.#registry.entries.totals(backupId);
    return seal.batches.every((count, shard) => (totals.batches[shard] ?? 0) >= count);
  }
}
