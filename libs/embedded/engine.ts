import type { DomainKeys, DomainSecret } from '../blocks/keys.ts';
import type { SealBlock } from '../commit/run-writer.ts';
import { TmError } from '../model/errors.ts';
import type { JournalHead, Registry, StoreRow } from '../registry/port.ts';
import { JournalWriter } from '../store/journal.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import type { StoreLimits } from '../store/limited-store.ts';
import { newestGeneration } from '../store/owner.ts';
import type { CollectableStore } from '../store/port.ts';
import { DataKey } from './data-key.ts';
import { loadDomain, openDomainSecret } from './domain-files.ts';
import { Home } from './home.ts';
import { initStore } from './init-store.ts';
import type { OpenStore } from './open-engine-store.ts';
import { openKnownStore } from './open-known-store.ts';
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
  /** Given by who only reads: damage of the store that does not keep anybody from reading is told, not thrown. */
  readonly onDamage?: (error: TmError) => void;
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
  readonly #damage: TmError[] = [];
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
      const { store, storeRow, damage } = await openOrInitStore(config, home, registry);
      const domain = await loadDomain(home, store, config);
      const engine = new Engine({ config, home, registry, store, storeRow, domain }, release);
      damage.forEach(engine.noteDamage);
      await recover(engine, false);
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

  /** What was found damaged when the store was opened for reading. */
  get damage(): readonly TmError[] {
    return this.#damage;
  }

  readonly noteDamage = (error: TmError): void => {
    this.#damage.push(error);
    this.config.onDamage?.(error);
  };

  /**
   * This home's journal, taken in to its end: another process of the home may have died. Call it under `withWriter`.
   * Throws TM1207 where the store was claimed since it was opened: what is written past the claimer's void is ignored.
   */
  async journal(): Promise<JournalWriter> {
    if (this.#damage[0]) throw this.#damage[0]; // nothing is decided on what is known to be incomplete
    const { writer } = this.home;
    const { ownerGeneration } = this.storeRow;
    const newest = await newestGeneration(this.store);
    if (newest !== ownerGeneration)
      throw new TmError('TM1207', `${this.store.url} is at owner generation ${newest} now`);
    return new JournalWriter(this.store, {
      writer,
      head: await rollWriterForward(this, writer),
      ownerGeneration,
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
): Promise<Pick<Engine, 'store' | 'storeRow' | 'damage'>> {
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
