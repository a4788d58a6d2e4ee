import { recipientOf } from '../blocks/keys.ts';
import { domainKeyName } from '../cell/domain-key-name.ts';
import { openCellStore } from '../cell/open-cell-store.ts';
import { TmError } from '../model/errors.ts';
import type { JournalHead, Registry, StoreRow } from '../registry/port.ts';
import { JournalWriter, listWriters, readJournal } from '../store/journal.ts';
import { claimOwner, currentOwner, type Owner } from '../store/owner.ts';
import type { CollectableStore, Store } from '../store/port.ts';
import { createStoreIdentity, readStoreIdentity } from '../store/store-identity.ts';
import { ensureIdentity, readIdentity } from './domain-files.ts';
import type { EngineConfig } from './engine.ts';
import type { Home } from './home.ts';
import { dropStorePlan, makeStorePlan, readStorePlan, type StorePlan } from './store-plan.ts';

/** TM1202 of a registry that never had a store: nothing is missing, a first backup makes one. */
export class NoStoreYet extends TmError {
  constructor(url: string) {
    super('TM1202', url);
  }
}

/**
 * Makes a store for an empty registry: identity, keys, tidemark.json, owner, the journal's first record, and only
 * then the registry's row. One that this home began and was killed at is finished; any other place that holds a store
 * already is refused with the way out. Called by one process at a time.
 */
export async function initStore(
  config: EngineConfig,
  home: Home,
  registry: Registry,
): Promise<{ store: CollectableStore; storeRow: StoreRow }> {
  const store = await openCellStore(config, config.create).catch((error) => {
    throw isMissing(error) ? new NoStoreYet(config.storeUrl) : error;
  });
  const found = await readStoreIdentity(store).catch((error) => {
    throw isMissing(error) && !config.create ? new NoStoreYet(store.url) : error; // a bucket that is not there
  });
  const begun = await readStorePlan(home);
  if (found && found.storeId !== begun?.storeId) throw new TmError('TM1208', store.url);
  if (!config.create) throw new NoStoreYet(store.url);
  const { identity, made } = found
    ? { identity: await readIdentity(home, config), made: false }
    : await ensureIdentity(home, config);
  const recipient = await recipientOf(identity);
  const isOurs = begun?.recipient === recipient;
  if (found && !isOurs) throw new TmError('TM1208', store.url);
  const plan = begun && isOurs ? begun : await makeStorePlan(home, recipient, new Date());
  const { storeId, registryId } = plan;
  await store.create(domainKeyName(plan.domain, 1, recipient), [Buffer.from(plan.wrapped, 'base64')]);
  await createStoreIdentity(store, storeId, new Date(plan.time));
  const { generation } = await claim(store, plan);
  await registry.journal.setHead(await firstRecord(store, home, plan, generation));
  const storeRow = { storeId, registryId, ownerGeneration: generation };
  await registry.journal.setStore(storeRow);
  await dropStorePlan(home);
  if (made)
    config.onStatus(
      `made a new store at ${store.url}; its key is ${home.identityFile}: keep a copy elsewhere too`,
    );
  return { store, storeRow };
}

const isMissing = (error: unknown): boolean => error instanceof TmError && error.code === 'TM1202';

async function claim(store: Store, { registryId, time }: StorePlan): Promise<Owner> {
  const owner = await currentOwner(store);
  if (owner && owner.registryId !== registryId) throw new TmError('TM1208', store.url);
  return owner ?? claimOwner(store, { registryId, takenIn: {}, now: new Date(time) });
}

/** The head after the journal's first record, which may be there. More than that is a store in use. */
async function firstRecord(
  store: Store,
  { writer }: Home,
  { storeId, domain }: StorePlan,
  ownerGeneration: number,
): Promise<JournalHead> {
  const heads: JournalHead[] = [];
  for await (const { number, chain } of readJournal(store, writer, undefined))
    heads.push({ writer, number, chain });
  const others = (await listWriters(store)).filter((one) => one !== writer);
  if (heads.length > 1 || others.length > 0) throw new TmError('TM1208', store.url);
  const journal = new JournalWriter(store, {
    writer,
    head: undefined,
    ownerGeneration,
    now: () => new Date(),
  });
  return heads[0] ?? journal.append([{ kind: 'store', storeId, domains: [domain] }], []);
}
