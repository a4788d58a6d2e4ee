import { TmError } from '../model/errors.ts';
import type { JournalHead, Registry, StoreRow } from '../registry/port.ts';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import { JournalWriter, listWriters } from '../store/journal.ts';
import { claimOwner, currentOwner } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { createStoreIdentity, readStoreIdentity } from '../store/store-identity.ts';
import { Cell } from './cell.ts';
import { openCellStore, type StoreConfig } from './open-cell-store.ts';
import { openKnownStore } from './open-known-store.ts';
import { recover } from './recover.ts';

/** Journal writers that a cell's services share. */
const LANES = 4;

export interface CellConfig extends StoreConfig {
  readonly registryUrl: string;
  readonly onStatus: (text: string) => void;
}

/** Opens what a service decides in, and settles what a crash left. TM1202 until `setUpCell` has run once. */
export async function openCell(config: CellConfig, random: () => number = Math.random): Promise<Cell> {
  const registry = await openPostgresRegistry({ connection: config.registryUrl });
  try {
    const storeRow = await registry.journal.store();
    if (!storeRow)
      throw new TmError('TM1202', 'the registry knows no store yet: run `control-plane setup` once');
    const { store } = await openKnownStore(config, storeRow, registry);
    const cell = new Cell({ ...config, registry, store, storeRow, writer: await lane(registry, random) });
    await recover(cell, false);
    return cell;
  } catch (error) {
    await registry.close();
    throw error;
  }
}

/** From now on this registry's events are left to services, also by embedded commands beside them (cell/outbox.ts). */
export const markServed = (registry: Registry): Promise<unknown> => registry.journal.lanes(LANES);

async function lane(registry: Registry, random: () => number): Promise<string> {
  const lanes = await registry.journal.lanes(LANES);
  return lanes[Math.floor(random() * lanes.length)]!;
}

/**
 * Makes the tables, and the store where the registry knows none. Whoever is killed on the way, or does it at the same
 * time, goes on with the same ids. Throws TM1208 where the place holds another store already.
 */
export async function setUpCell(config: CellConfig): Promise<StoreRow> {
  const registry = await openPostgresRegistry({ connection: config.registryUrl });
  try {
    const known = await registry.journal.store();
    if (known) return known;
    return await registry.journal.withStoreLock(
      'exclusive',
      async () => (await registry.journal.store()) ?? (await makeStore(config, registry)),
    );
  } finally {
    await registry.close();
  }
}

async function makeStore(config: CellConfig, registry: Registry): Promise<StoreRow> {
  const { storeId, registryId, time } = await registry.journal.newStore();
  const now = new Date(time);
  const store = await openCellStore(config, true);
  try {
    const found = await readStoreIdentity(store);
    if (found && found.storeId !== storeId) throw new TmError('TM1208', store.url);
    if (!found) await createStoreIdentity(store, storeId, now);
    const owner = await currentOwner(store);
    if (owner && owner.registryId !== registryId) throw new TmError('TM1208', store.url);
    const { generation } = owner ?? (await claimOwner(store, { registryId, takenIn: {}, now }));
    const [writer] = await registry.journal.lanes(LANES);
    await registry.journal.setHead(await firstRecord(store, writer!, storeId, generation, now));
    const storeRow = { storeId, registryId, ownerGeneration: generation };
    await registry.journal.setStore(storeRow);
    config.onStatus(`made a new store at ${store.url}`);
    return storeRow;
  } finally {
    await store.close();
  }
}

/** The journal's first object, which says what store it is; domains come with the agents. */
async function firstRecord(
  store: Store,
  writer: string,
  storeId: string,
  ownerGeneration: number,
  now: Date,
): Promise<JournalHead> {
  const others = (await listWriters(store)).filter((one) => one !== writer);
  if (others.length > 0) throw new TmError('TM1208', store.url);
  const journal = new JournalWriter(store, { writer, head: undefined, ownerGeneration, now: () => now });
  return journal.append([{ kind: 'store', storeId, domains: [] }], []);
}
