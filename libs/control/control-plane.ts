import type { Cell } from '../cell/cell.ts';
import type { Binding } from '../http/binding.ts';
import type { WatchTotals } from '../registry/port.ts';
import type { Policy } from '../schedule/policy.ts';
import type { JobQueue } from '../schedule/queue.ts';
import { agentHandlers } from './agent-handlers.ts';
import { askedBackupHandlers } from './asked-backup-handlers.ts';
import { RegistryAuthenticator } from './authenticator.ts';
import { backupHandlers } from './backup-handlers.ts';
import { BackupWaits } from './backup-waits.ts';
import { catalogueHandlers } from './catalogue-handlers.ts';
import { type OnReaped, Reaper } from './end-backups.ts';
import type { ControlParts } from './parts.ts';
import { scheduleHandlers } from './schedule-handlers.ts';
import { verifyHandlers } from './verify-handlers.ts';
import { watchHandlers } from './watch-handlers.ts';

export interface ControlOptions {
  readonly cell: Cell;
  readonly queue: JobQueue;
  /** age recipients to which the keys of new domains are wrapped. */
  readonly recipients: readonly string[];
  /** URLs of the storage writers, for agents. */
  readonly writers: readonly string[];
  /** An administrator's token of the configuration's own. */
  readonly adminToken?: string | undefined;
  /** Of enrolled agents' sources that have no policy of their own: what the scheduler goes by. */
  readonly defaultPolicy?: Policy | undefined;
  /** A policy or job has changed: the scheduler should look. */
  readonly onSchedule?: () => void;
  /** Of what runs beside requests. */
  readonly onError: (error: unknown) => void;
  readonly onReaped?: OnReaped;
  /** Is told now and then how sources are watched. */
  readonly onWatches?: (totals: WatchTotals) => void;
  /** Of silence after which a backup's agent is taken for gone. Default: 60. */
  readonly leaseSeconds?: number;
  /** Milliseconds between two looks for overdue backups. Default: 5,000. */
  readonly reapInterval?: number;
}

const LEASE_SECONDS = 60;

/** Enrolment, slots and catalogue of one cell. Any number of them may run on one registry. */
export class ControlPlane {
  readonly authenticator: RegistryAuthenticator;
  readonly #parts: ControlParts;
  readonly #waits: BackupWaits;
  readonly #reaper: Reaper;

  constructor(options: ControlOptions) {
    const { cell, queue, recipients, writers, adminToken, onSchedule = () => {} } = options;
    const { defaultPolicy, onError, onReaped, onWatches } = options;
    const { leaseSeconds = LEASE_SECONDS, reapInterval: interval } = options;
    this.authenticator = new RegistryAuthenticator(cell.registry, { adminToken });
    this.#parts = {
      cell,
      authenticator: this.authenticator,
      queue,
      recipients,
      writers,
      defaultPolicy,
      onSchedule,
      leaseSeconds,
    };
    this.#waits = new BackupWaits(cell.registry);
    this.#reaper = new Reaper(cell, { onError, onReaped, onWatches, defaultPolicy, interval });
  }

  /** For `bindRoutes`, with `authenticator`. */
  routes(): Binding[] {
    return [
      ...agentHandlers(this.#parts),
      ...backupHandlers(this.#parts, this.#waits),
      ...catalogueHandlers(this.#parts),
      ...scheduleHandlers(this.#parts),
      ...watchHandlers(this.#parts),
      ...askedBackupHandlers(this.#parts),
      ...verifyHandlers(this.#parts),
    ];
  }

  start(): void {
    this.#reaper.start();
  }

  /** Answers what waits, and ends the round of work that is under way. Cell and queue stay open. */
  async stop(): Promise<void> {
    await Promise.all([this.#waits.stop(), this.#reaper.stop()]);
  }
}
