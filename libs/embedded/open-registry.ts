import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import {
  openPostgresRegistry,
  type PostgresConnection,
} from '../registry/postgres/open-postgres-registry.ts';
import type { EngineConfig } from './engine.ts';
import type { Home } from './home.ts';

export interface OpenedRegistry {
  readonly registry: Registry;
  /** Of its database, for what lives beside it. */
  readonly connection: PostgresConnection;
  readonly release: () => Promise<void>;
}

/** The user's own Postgres, or the embedded one, which stays up while somebody needs it. */
export async function openRegistry(config: EngineConfig, home: Home): Promise<OpenedRegistry> {
  if (config.registryUrl) {
    return {
      registry: await openPostgresRegistry({ connection: config.registryUrl, warm: config.create }),
      connection: config.registryUrl,
      release: async () => {},
    };
  }
  const { acquireEmbeddedPostgres } = await import('../registry/embedded/index.ts');
  const postgres = await acquireEmbeddedPostgres({ home: home.path, onStatus: config.onStatus });
  try {
    const registry = await openPostgresRegistry({ connection: postgres.connection, warm: config.create });
    return { registry, connection: postgres.connection, release: () => postgres.release() };
  } catch (error) {
    await postgres.release();
    throw error;
  }
}

/**
 * As above, for a rebuild: data of the embedded Postgres that another major version wrote, or that does not come up,
 * is set aside, and an empty registry takes its place.
 */
export async function openRegistryToRebuild(config: EngineConfig, home: Home): Promise<OpenedRegistry> {
  try {
    return await openRegistry(config, home);
  } catch (error) {
    const unusable = error instanceof TmError && (error.code === 'TM1302' || error.code === 'TM1303');
    if (config.registryUrl || !unusable) throw error;
    const { setAsideOldData } = await import('../registry/embedded/index.ts');
    const aside = await setAsideOldData(home.path);
    if (aside === undefined) throw error;
    config.onStatus(`the old registry cannot be used (${error.message}); it lies in ${aside} now`);
    return openRegistry(config, home);
  }
}
