import type { Cell } from '../cell/cell.ts';
import { recover } from '../cell/recover.ts';
import { abortBackup } from '../commit/abort-backup.ts';
import type { BackupInfo, BackupState } from '../model/backup.ts';
import { TmError } from '../model/errors.ts';
import type { Registry, WatchTotals } from '../registry/port.ts';
import type { Policy } from '../schedule/policy.ts';
import { tellForSilent } from '../schedule/recovery-point.ts';

/** A sealed backup of which no piece was applied for so long has come to a halt. */
const STALL_SECONDS = 600;
const REAP_MS = 5000;
/** How many rounds of reaping there are to one of settling. */
const SETTLE_EVERY = 6;

/** Renews an open or sealed backup's lease. Throws TM1502 where it has ended, or another process holds it. */
export async function heartbeat(
  { backups }: Registry,
  backup: BackupInfo,
  instance: string | undefined,
  seconds: number,
): Promise<BackupState> {
  const admission = (await backups.admissions([backup.id])).get(backup.id);
  const state = admission?.state ?? backup.state;
  const isOver = !['open', 'sealed', 'committing'].includes(state);
  const why = isOver
    ? `${backup.label} is ${state}${backup.failure ? ` (${backup.failure})` : ''}`
    : undefined;
  if (isOver) throw new TmError('TM1502', why);
  if (admission?.instance !== instance)
    throw new TmError('TM1502', `${backup.label} was opened by another process`);
  await backups.renew(backup.id, backup.epoch, seconds);
  return state;
}

/** Is told of a backup that was ended since nobody brought it on any more. */
export type OnReaped = (backup: BackupInfo, code: string) => void;

/** Ends what nobody brings on any more. Any number of control planes may do so at once. Gives how many it ended. */
export async function reap(
  registry: Registry,
  stallSeconds = STALL_SECONDS,
  onReaped: OnReaped = () => {},
): Promise<number> {
  let ended = 0;
  for (const { backup, code } of await registry.backups.overdue(stallSeconds)) {
    if ((await abortBackup(registry, backup, code)) !== 'failed') continue;
    ended++;
    onReaped(backup, code);
  }
  return ended;
}

interface ReaperOptions {
  readonly onError: (error: unknown) => void;
  readonly onReaped?: OnReaped | undefined;
  /** Of enrolled agents' sources that have no policy of their own. */
  readonly defaultPolicy?: Policy | undefined;
  /** Is told now and then how sources are watched. */
  readonly onWatches?: ((totals: WatchTotals) => void) | undefined;
  /** Milliseconds. */
  readonly interval?: number | undefined;
}

/** Reaps at intervals, settles what broke off while it was being committed, and looks after silent watches. */
export class Reaper {
  readonly #cell: Cell;
  readonly #options: ReaperOptions;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #rounds = 0;

  constructor(cell: Cell, options: ReaperOptions) {
    this.#cell = cell;
    this.#options = options;
  }

  start(): void {
    const { interval = REAP_MS } = this.#options;
    this.#timer ??= setTimeout(() => this.#next(), interval).unref();
  }

  #next(): void {
    this.#round = this.#work()
      .catch(this.#options.onError)
      .then(() => {
        if (!this.#timer) return;
        this.#timer = undefined;
        this.start();
      });
  }

  async #work(): Promise<void> {
    await reap(this.#cell.registry, STALL_SECONDS, this.#options.onReaped);
    if (this.#rounds++ % SETTLE_EVERY !== 0) return;
    await recover(this.#cell, false);
    const { registry } = this.#cell;
    await tellForSilent(registry, this.#options.defaultPolicy, this.#options.onError);
    this.#options.onWatches?.(await registry.watches.totals());
  }

  /** Ends after the round that is under way. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#round;
  }
}
