import type { DomainKeys } from '../blocks/keys.ts';
import type { Cell } from '../cell/cell.ts';
import { type CommitOutcome, Committer } from '../commit/committer.ts';
import { DeltaApplier } from '../commit/delta-applier.ts';
import { PackIntake } from '../commit/pack-intake.ts';
import type { DeltaMessage, Seal } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import type { FixedSource } from '../registry/fixed-sources.ts';
import type { PieceTotals } from '../registry/port.ts';
import { failBackup, isOfBackup } from './end-backup.ts';

/** Bytes of packs that hold runs. */
const RUN_PACK_BYTES = 16 * 1024 * 1024;

export interface DeltaSetsDeps {
  readonly cell: Cell;
  readonly sourceOf: (id: number) => Promise<FixedSource>;
  readonly domainOf: (uid: string) => Promise<DomainKeys>;
  readonly onEnded: (backup: BackupInfo, outcome: CommitOutcome) => void;
}

/**
 * Handles delta sets. What is wrong with a backup ends that backup and no other; what is wrong with registry or store
 * is thrown, so that the messages come again.
 */
export class DeltaSets {
  readonly #deps: DeltaSetsDeps;
  readonly #applier: DeltaApplier;
  /** Of backups whose outcome is not known yet. */
  readonly #committers = new Map<string, Committer>();

  constructor(deps: DeltaSetsDeps) {
    this.#deps = deps;
    const { registry } = deps.cell;
    const present = async (sourceId: number, ids: Buffer) =>
      registry.blocks.present((await deps.sourceOf(sourceId)).domain, ids);
    this.#applier = new DeltaApplier(registry, present, {
      commit: (backup, seal, totals) => this.#commit(backup, seal, totals),
      settle: async (backup) => {
        if (backup.state === 'committing') await this.#settle(backup);
      },
    });
  }

  readonly handle = async (messages: readonly DeltaMessage[]): Promise<void> => {
    for (const [backupId, pieces] of Map.groupBy(messages, ({ header }) => header.backupId)) {
      try {
        await this.#applier.apply(pieces);
      } catch (error) {
        if (!isOfBackup(error)) throw error;
        const backup = await failBackup(this.#deps.cell.registry, backupId, error.code);
        if (backup) this.#ended(backup, { state: 'failed', error });
      }
    }
  };

  async #commit(backup: BackupInfo, seal: Seal, totals: PieceTotals): Promise<void> {
    const source = await this.#deps.sourceOf(backup.sourceId);
    const committer = await this.#committerOf(backup.id, source);
    this.#ended(backup, await committer.commit(backup, source, seal, totals));
  }

  async #settle(backup: BackupInfo): Promise<void> {
    const source = await this.#deps.sourceOf(backup.sourceId);
    const committer = await this.#committerOf(backup.id, source);
    this.#ended(backup, await committer.settle(backup));
  }

  #ended(backup: BackupInfo, outcome: CommitOutcome): void {
    this.#committers.delete(backup.id);
    this.#deps.onEnded(backup, outcome);
  }

  async #committerOf(backupId: string, source: FixedSource): Promise<Committer> {
    const known = this.#committers.get(backupId);
    if (known) return known;
    const { cell } = this.#deps;
    const domain = await this.#deps.domainOf(source.domain);
    const committer = new Committer({
      registry: cell.registry,
      store: cell.store,
      ownerGeneration: cell.storeRow.ownerGeneration,
      intake: new PackIntake({
        domainId: domain.id,
        blocks: cell.registry.blocks,
        store: cell.store,
        wrappedKey: (id) => cell.dataKeyOf(domain).wrapped(id),
        packBytes: RUN_PACK_BYTES,
      }),
      seal: cell.sealFor(domain),
      journal: () => cell.journal(),
      writer: cell.writer,
      now: () => new Date(),
    });
    this.#committers.set(backupId, committer);
    return committer;
  }
}
