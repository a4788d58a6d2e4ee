import { TmError } from '../model/errors.ts';
import type { Registry, StoreRow } from '../registry/port.ts';
import { headProblem } from '../store/journal-reader.ts';
import { type Claims, ownerName, readClaims } from '../store/owner.ts';
import type { CollectableStore, Store } from '../store/port.ts';
import { readStoreIdentity, STORE_IDENTITY_NAME } from '../store/store-identity.ts';
import { openCellStore, type StoreConfig } from './open-cell-store.ts';

const WAY_OUT =
  'backups can be read; put it back from a copy, or `tidemark registry rebuild` goes on without it';

/**
 * Opens the store that the registry knows; a missing or different one is an error, never a new store. Who only reads
 * may go on where the object that says which store it is, or the one that says who owns it, is lost, as long as
 * something else of the store proves that it is the one (docs/decisions/009-reading-a-damaged-store.md).
 */
export async function openKnownStore(
  config: StoreConfig,
  known: StoreRow,
  registry: Registry,
): Promise<{ store: CollectableStore; damage: readonly TmError[] }> {
  const store = await openCellStore(config, false);
  try {
    const asked = identityDamage(store, known); // while the claims come: a bucket takes its time for each
    asked.catch(() => {});
    const claims = await readClaims(store);
    const identity = await asked;
    const claim = claimDamage(store, known, claims);
    const damage = [identity, claim].filter((error) => error !== undefined);
    if (identity && claim && !(await hasKnownJournal(store, registry))) throw identity;
    if (damage[0] && !config.onDamage) throw damage[0];
    return { store, damage };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** What is wrong with tidemark.json: TM1202 (missing) or TM1206 (damaged). Throws TM1203 for another store's. */
async function identityDamage(store: Store, { storeId }: StoreRow): Promise<TmError | undefined> {
  try {
    const identity = await readStoreIdentity(store);
    if (!identity)
      return new TmError(
        'TM1202',
        `${store.url} lacks ${STORE_IDENTITY_NAME}; if the right disk is there, ${WAY_OUT}`,
      );
    if (identity.storeId === storeId) return undefined;
    throw new TmError('TM1203', `${store.url} is store ${identity.storeId}, the registry knows ${storeId}`);
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1206')) throw error;
    return new TmError('TM1206', `${STORE_IDENTITY_NAME} is damaged; ${WAY_OUT}`, { cause: error });
  }
}

/** What is wrong with this registry's claim, the newest: TM1205 or TM1206. Throws TM1207 for somebody else's. */
function claimDamage(
  store: Store,
  { registryId, ownerGeneration }: StoreRow,
  { owners, lost, newest }: Claims,
): TmError | undefined {
  if (newest > ownerGeneration)
    throw new TmError(
      'TM1207',
      `${store.url} is at owner generation ${newest}, this copy of the registry at ${ownerGeneration}`,
    );
  const owner = owners.at(-1);
  if (owner?.generation !== ownerGeneration) {
    const cause = lost.get(ownerGeneration);
    const what = `${ownerName(ownerGeneration)} is ${cause?.code === 'TM1206' ? 'damaged' : 'missing'}; ${WAY_OUT}`;
    return new TmError(cause?.code ?? 'TM1205', what, { cause });
  }
  if (owner.registryId === registryId) return undefined;
  throw new TmError('TM1207', `${store.url} belongs to registry ${owner.registryId}`);
}

/** Whether the store holds the newest object that the registry has taken in of any writer's journal. */
async function hasKnownJournal(store: Store, registry: Registry): Promise<boolean> {
  for (const head of await registry.journal.heads())
    if ((await headProblem(store, head.writer, head)) === undefined) return true;
  return false;
}
