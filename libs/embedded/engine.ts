import type { DomainKeys, DomainSecret } from '../blocks/keys.ts';
import { Cell, type CellParts } from '../cell/cell.ts';
import type { StoreConfig } from '../cell/open-cell-store.ts';
import { openKnownStore } from '../cell/open-known-store.ts';
import { type DomainReadingKeys, readingKeys } from '../cell/reading-keys.ts';
import { recover } from '../cell/recover.ts';
import type { DataKey } from '../commit/data-key.ts';
import type { SealBlock } from '../commit/run-writer.ts';
import type { TmError } from '../model/errors.ts';
import type { Registry, StoreRow } from '../registry/port.ts';
import type { CollectableStore } from '../store/port.ts';
import { loadDomain, openDomainSecret } from './domain-files.ts';
import { Home } from './home.ts';
import { initStore } from './init-store.ts';
import { type OpenedRegistry, openRegistry } from './open-registry.ts';

export interface EngineConfig extends StoreConfig {
  readonly home: string;
  /** A Postgres of the user's own; without it the embedded one. */
  readonly registryUrl: string | undefined;
  readonly identityFile: string | undefined;
  readonly passphrase: string | undefined;
  /** Makes store, registry and identity where there are none. */
  readonly create: boolean;
  readonly onStatus: (text: string) => void;
}

interface EngineParts extends CellParts {
  readonly config: EngineConfig;
  readonly home: Home;
  readonly store: CollectableStore;
  readonly domain: DomainKeys;
  readonly connection: OpenedRegistry['connection'];
  readonly release: () => Promise<void>;
}

/** The cell of the embedded mode, with its home and keys; what a crash left behind is settled. */
export class Engine extends Cell {
  readonly config: EngineConfig;
  readonly home: Home;
  readonly domain: DomainKeys;
  /** The registry's database, where the queue of jobs lives too. */
  readonly connection: OpenedRegistry['connection'];
  declare readonly store: CollectableStore;
  readonly #release: () => Promise<void>;

  private constructor(parts: EngineParts) {
    super(parts);
    this.config = parts.config;
    this.home = parts.home;
    this.domain = parts.domain;
    this.connection = parts.connection;
    this.#release = parts.release;
  }

  static async open(config: EngineConfig): Promise<Engine> {
    const home = await Home.open(config.home);
    const { registry, connection, release } = await openRegistry(config, home);
    try {
      const { store, storeRow, damage } = await openOrInitStore(config, home, registry);
      const domain = await loadDomain(home, store, config);
      await registry.domains.add(domain);
      const { onStatus, onDamage } = config;
      const { writer } = home;
      const opened = { registry, store, storeRow, writer, onStatus, onDamage };
      const engine = new Engine({ ...opened, config, home, domain, connection, release });
      damage.forEach(engine.noteDamage);
      await recover(engine, false);
      return engine;
    } catch (error) {
      await registry.close().catch(() => {});
      await release();
      throw error;
    }
  }

  get dataKey(): DataKey {
    return this.dataKeyOf(this.domain);
  }

  readonly seal: SealBlock = (plain, kind) => this.dataKey.seal(plain, kind);

  /** The domain's private key, for reading back. */
  secret(): Promise<DomainSecret> {
    return openDomainSecret(this.home, this.store, this.domain.id, this.config);
  }

  override get readsBack(): boolean {
    return true;
  }

  override readingKeys(domain: string): Promise<DomainReadingKeys> {
    const { home, store, config } = this;
    return readingKeys({ store, secret: () => openDomainSecret(home, store, domain, config) });
  }

  async close(): Promise<void> {
    await this.registry.close();
    await this.store.close();
    await this.#release();
  }
}

interface OpenedStore {
  readonly store: CollectableStore;
  readonly storeRow: StoreRow;
  readonly damage: readonly TmError[];
}

/** Of several first runs at once one makes the store, under the lock; the others find it made. */
async function openOrInitStore(config: EngineConfig, home: Home, registry: Registry): Promise<OpenedStore> {
  const openKnown = async () => {
    const known = await registry.journal.store();
    return known && { ...(await openKnownStore(config, known, registry)), storeRow: known };
  };
  return (
    (await openKnown()) ??
    registry.journal.withStoreLock(
      'exclusive',
      async () => (await openKnown()) ?? { ...(await initStore(config, home, registry)), damage: [] },
    )
  );
}
