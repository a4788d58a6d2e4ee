import { randomBytes, randomUUID } from 'node:crypto';
import { newDomain, recipientOf, wrapDomain } from '../blocks/keys.ts';
import { TmError } from '../model/errors.ts';
import type { Registry, StoreRow } from '../registry/port.ts';
import { JournalWriter } from '../store/journal.ts';
import { claimOwner } from '../store/owner.ts';
import type { CollectableStore } from '../store/port.ts';
import { createStoreIdentity, readStoreIdentity } from '../store/store-identity.ts';
import { domainKeyName, ensureIdentity, saveDomain } from './domain-files.ts';
import type { EngineConfig } from './engine.ts';
import type { Home } from './home.ts';
import { openEngineStore } from './open-engine-store.ts';

/**
 * Makes a store for an empty registry: identity, keys, tidemark.json, owner, the journal's first record, and only
 * then the registry's row. A place that holds a store already is refused with the way out.
 */
export async function initStore(
  config: EngineConfig,
  home: Home,
  registry: Registry,
): Promise<{ store: CollectableStore; storeRow: StoreRow }> {
  const store = await openEngineStore(config.storeUrl, { create: config.create }, config.openStore);
  if (await readStoreIdentity(store)) throw new TmError('TM1208', store.url);
  if (!config.create) throw new TmError('TM1202', store.url);
  const { identity, made } = await ensureIdentity(home, config);
  const now = new Date();
  const [storeId, registryId] = [randomUUID(), randomUUID()];
  const secret = await newDomain(randomUUID(), randomBytes(32));
  const recipient = await recipientOf(identity);
  await store.create(domainKeyName(secret.id, 1, recipient), [await wrapDomain(secret, [recipient])]);
  await createStoreIdentity(store, storeId, now);
  const { generation } = await claimOwner(store, { registryId, takenIn: {}, now });
  const journal = new JournalWriter(store, {
    writer: home.writer,
    head: undefined,
    ownerGeneration: generation,
    now: () => new Date(),
  });
  const head = await journal.append([{ kind: 'store', storeId, domains: [secret.id] }], []);
  const { identity: _, ...domain } = secret;
  await saveDomain(home, domain);
  await registry.journal.setHead(head);
  const storeRow = { storeId, registryId, ownerGeneration: generation };
  await registry.journal.setStore(storeRow);
  if (made)
    config.onStatus(
      `made a new store at ${store.url}; its key is ${home.identityFile}: keep a copy elsewhere too`,
    );
  return { store, storeRow };
}
