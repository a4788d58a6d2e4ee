import { setTimeout as sleep } from 'node:timers/promises';
import { BusyError } from '../http/problem.ts';
import type { BackupState } from '../model/backup.ts';
import type { Registry } from '../registry/port.ts';

const MAX_WAITING = 1000;
const POLL_MS = 300;
const RETRY_SECONDS = 5;
const UNDER_WAY: ReadonlySet<BackupState> = new Set(['open', 'sealed', 'committing']);

export const hasEnded = (state: BackupState): boolean => !UNDER_WAY.has(state);

/**
 * Requests that wait for the end of a backup. One query at a time asks for all of them, so that a waiting client costs
 * no connection to the registry; so many may wait, more are told to come again.
 */
export class BackupWaits {
  readonly #registry: Pick<Registry, 'backups'>;
  readonly #pollMs: number;
  readonly #max: number;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #stopping = new AbortController();
  #count = 0;
  #polling: Promise<void> | undefined;

  constructor(registry: Pick<Registry, 'backups'>, { pollMs = POLL_MS, max = MAX_WAITING } = {}) {
    this.#registry = registry;
    this.#pollMs = pollMs;
    this.#max = max;
  }

  /** Resolves when the backup has ended, the time is over, the client has gone, or the service stops. */
  async wait(backupId: string, seconds: number, signal: AbortSignal): Promise<void> {
    if (this.#count >= this.#max) throw new BusyError(503, RETRY_SECONDS, 'too many requests wait');
    const { promise, resolve } = Promise.withResolvers<void>();
    const own = this.#waiting.get(backupId) ?? new Set();
    this.#waiting.set(backupId, own.add(resolve));
    this.#count++;
    const timer = setTimeout(resolve, seconds * 1000);
    const over = AbortSignal.any([signal, this.#stopping.signal]);
    over.addEventListener('abort', () => resolve(), { once: true });
    if (over.aborted) resolve();
    this.#polling ??= this.#poll();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#count--;
      own.delete(resolve);
      if (own.size === 0 && this.#waiting.get(backupId) === own) this.#waiting.delete(backupId);
    }
  }

  /** A registry that does not answer lets everybody wait until their time is over. */
  async #poll(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#stopping.signal.aborted) {
      const ids = [...this.#waiting.keys()];
      const admissions = await this.#registry.backups.admissions(ids).catch(() => undefined);
      for (const id of admissions ? ids : []) {
        const state = admissions!.get(id)?.state;
        if (state === undefined || hasEnded(state)) for (const wake of this.#waiting.get(id) ?? []) wake();
      }
      await sleep(this.#pollMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
    this.#polling = undefined;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#polling;
  }
}
