import type { DomainKeys, DomainSecret } from '../blocks/keys.ts';
import type { SealBlock } from '../commit/run-writer.ts';
import { TmError } from '../model/errors.ts';
import type { JournalHead, Registry, StoreRow } from '../registry/port.ts';
import { JournalWriter } from '../store/journal.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import type { StoreLimits } from '../store/limited-store.ts';
import { currentOwner } from '../store/owner.ts';
import type { CollectableStore } from '../store/port.ts';
import { readStoreIdentity } from '../store/store-identity.ts';
import { DataKey } from './data-key.ts';
import { loadDomain, openDomainSecret } from './domain-files.ts';
import { Home } from './home.ts';
import { initStore } from './init-store.ts';
import { type OpenStore, openEngineStore } from './open-engine-store.ts';
import { openRegistry } from './open-registry.ts';
import { recover } from './recover.ts';
import { rollWriterForward } from './roll-forward.ts';

export interface EngineConfig {
  readonly home: string;
  /** file:// URL; the default is a folder of the home. */
  readonly storeUrl: string;
  /** A Postgres of the user's own; without it the embedded one. */
  readonly registryUrl: string | undefined;
  readonly identityFile: string | undefined;
  readonly passphrase: string | undefined;
  /** Makes store, registry and identity where there are none. */
  readonly create: boolean;
  readonly onStatus: (text: string) => void;
  /** Stands in for the store's adapter in tests. */
  readonly openStore?: OpenStore;
  readonly limits?: StoreLimits;
  /** Ends waits for the limits' sake. */
  readonly signal?: AbortSignal;
}

/**
 * Store, registry and keys of the embedded mode, opened and checked: the store is the one that the registry knows,
 * the registry owns it, and what a crash left behind is settled.
 */
export class Engine {
  readonly config: EngineConfig;
  readonly home: Home;
  readonly registry: Registry;
  readonly store: CollectableStore;
  readonly storeRow: StoreRow;
  readonly domain: DomainKeys;
  readonly dataKey: DataKey;
  readonly #release: () => Promise<void>;

  private constructor(
    parts: Pick<Engine, 'config' | 'home' | 'registry' | 'store' | 'storeRow' | 'domain'>,
    release: () => Promise<void>,
  ) {
    this.config = parts.config;
    this.home = parts.home;
    this.registry = parts.registry;
    this.store = parts.store;
    this.storeRow = parts.storeRow;
    this.domain = parts.domain;
    this.dataKey = new DataKey(parts.domain, parts.store);
    this.#release = release;
  }

  static async open(config: EngineConfig): Promise<Engine> {
    const home = await Home.open(config.home);
    const { registry, release } = await openRegistry(config, home);
    try {
      const { store, storeRow } = await openOrInitStore(config, home, registry);
      const domain = await loadDomain(home, store, config);
      const engine = new Engine({ config, home, registry, store, storeRow, domain }, release);
      await recover(engine);
      return engine;
    } catch (error) {
      await registry.close().catch(() => {});
      await release();
      throw error;
    }
  }

  readonly seal: SealBlock = (plain, kind) => this.dataKey.seal(plain, kind);

  /** The domain's private key, for reading back. */
  secret(): Promise<DomainSecret> {
    return openDomainSecret(this.home, this.store, this.domain.id, this.config);
  }

  /** This home's journal, taken in to its end: another process of the home may have died. Call it under `withWriter`. */
  async journal(): Promise<JournalWriter> {
    const { writer } = this.home;
    return new JournalWriter(this.store, {
      writer,
      head: await rollWriterForward(this, writer),
      ownerGeneration: this.storeRow.ownerGeneration,
      now: () => new Date(),
    });
  }

  /** Makes a decision durable in the journal, then has `effect` write it to the registry together with the new head. */
  async decide(
    records: readonly JournalRecord[],
    sections: readonly Buffer[],
    effect: (head: JournalHead) => Promise<void>,
  ): Promise<void> {
    await this.registry.journal.withWriter(this.home.writer, async () => {
      const journal = await this.journal();
      await effect(await journal.append(records, sections));
    });
  }

  async close(): Promise<void> {
    await this.registry.close();
    await this.store.close();
    await this.#release();
  }
}

/** Of several first runs at once one makes the store, under the lock; the others find it made. */
async function openOrInitStore(
  config: EngineConfig,
  home: Home,
  registry: Registry,
): Promise<Pick<Engine, 'store' | 'storeRow'>> {
  const openKnown = async () => {
    const known = await registry.journal.store();
    return known && { store: await openKnownStore(config, known), storeRow: known };
  };
  return (
    (await openKnown()) ??
    registry.journal.withStoreLock(
      'exclusive',
      async () => (await openKnown()) ?? initStore(config, home, registry),
    )
  );
}

/** Opens the store that the registry knows; a missing or different one is an error, never a new store. */
async function openKnownStore(config: EngineConfig, known: StoreRow): Promise<CollectableStore> {
  const store = await openEngineStore(config, false);
  const identity = await readStoreIdentity(store);
  if (!identity) throw new TmError('TM1202', store.url);
  if (identity.storeId !== known.storeId)
    throw new TmError(
      'TM1203',
      `${store.url} is store ${identity.storeId}, the registry knows ${known.storeId}`,
    );
  const owner = await currentOwner(store);
  if (owner?.registryId !== known.registryId)
    throw new TmError('TM1207', `${store.url} belongs to registry ${owner?.registryId ?? 'none'}`);
  if (owner.generation !== known.ownerGeneration)
    throw new TmError(
      'TM1207',
      `${store.url} is at owner generation ${owner.generation}, this copy of the registry at ${known.ownerGeneration}`,
    );
  return store;
}
