import { settle } from '../commit/settle.ts';
import { TmError } from '../model/errors.ts';
import type { Cell } from './cell.ts';
import { rollForward } from './roll-forward.ts';

/**
 * Settles what a crash left: journal objects that the registry has not taken in are rolled forward; a backup that was
 * committing and has no journal object fails, a void taking its number. Where the store takes no void now (a full disk
 * must not keep anybody from restoring), it stays as it is: `settleSource` has to succeed before its source's next backup.
 * Where damage keeps the journal from being taken in, a cell that only reads settles nothing.
 * `locked`: the caller holds the store's lock.
 */
export async function recover(cell: Cell, locked: boolean): Promise<void> {
  const { journal } = cell.registry;
  await rollForward(
    cell,
    (work) => (locked ? work() : journal.withStoreLock('shared', work)),
    cell.onDamage && cell.noteDamage,
  );
  if (cell.damage.length > 0) return;
  try {
    await settleAbandoned(cell, undefined);
  } catch (error) {
    if (!(error instanceof TmError && ['TM1201', 'TM1204', 'TM1211'].includes(error.code))) throw error;
    cell.onStatus(`a backup that broke off cannot be settled yet: ${error.message}`);
  }
}

/** The source's backup that broke off while it was being committed, if there is one. */
export const settleSource = (cell: Cell, sourceId: number): Promise<void> => settleAbandoned(cell, sourceId);

async function settleAbandoned(cell: Cell, sourceId: number | undefined): Promise<void> {
  const { registry, store, storeRow } = cell;
  const abandoned = await registry.backups.abandoned();
  const { ownerGeneration } = storeRow;
  const deps = { registry, store, ownerGeneration, now: () => new Date() };
  for (const { id, sourceId: source, state, journal: place } of abandoned) {
    if (state !== 'committing' || !place || (sourceId !== undefined && source !== sourceId)) continue;
    // Whoever commits holds the journal's lock meanwhile. The slot is left alone: its source's next backup may want it.
    await registry.journal.withWriter(place.writer, () => settle(deps, id, place, 'TM1502'));
  }
  if (abandoned.length > 0) await registry.outbox.passOver();
}
