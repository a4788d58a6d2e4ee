import { settle } from '../commit/settle.ts';
import { TmError } from '../model/errors.ts';
import type { Engine } from './engine.ts';
import { publishOutbox } from './outbox.ts';
import { rollForward } from './roll-forward.ts';

/**
 * Settles what a crash left: journal objects that the registry has not taken in are rolled forward; a backup that was
 * committing and has no journal object fails, a void taking its number. Where the store takes no void now (a full disk
 * must not keep anybody from restoring), it stays as it is: `settleSource` has to succeed before its source's next backup.
 * Where damage keeps the journal from being taken in, an engine that only reads settles nothing.
 * `locked`: the caller holds the store's lock.
 */
export async function recover(engine: Engine, locked: boolean): Promise<void> {
  const { journal } = engine.registry;
  await rollForward(
    engine,
    (work) => (locked ? work() : journal.withStoreLock('shared', work)),
    engine.config.onDamage && engine.noteDamage,
  );
  if (engine.damage.length > 0) return;
  try {
    await settleAbandoned(engine, undefined);
  } catch (error) {
    if (!(error instanceof TmError && ['TM1201', 'TM1204', 'TM1211'].includes(error.code))) throw error;
    engine.config.onStatus(`a backup that broke off cannot be settled yet: ${error.message}`);
  }
}

/** The source's backup that broke off while it was being committed, if there is one. */
export const settleSource = (engine: Engine, sourceId: number): Promise<void> =>
  settleAbandoned(engine, sourceId);

async function settleAbandoned(engine: Engine, sourceId: number | undefined): Promise<void> {
  const { registry, store, storeRow } = engine;
  const abandoned = await registry.backups.abandoned();
  const { ownerGeneration } = storeRow;
  const deps = { registry, store, ownerGeneration, now: () => new Date() };
  for (const { id, sourceId: source, state, journal: place } of abandoned) {
    if (state !== 'committing' || !place || (sourceId !== undefined && source !== sourceId)) continue;
    await registry.backups.withSlot(source, () =>
      registry.journal.withWriter(place.writer, () => settle(deps, id, place, 'TM1502')),
    );
  }
  if (abandoned.length > 0) await publishOutbox(engine);
}
