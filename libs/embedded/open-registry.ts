import type { Registry } from '../registry/port.ts';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import type { EngineConfig } from './engine.ts';
import type { Home } from './home.ts';

/** The user's own Postgres, or the embedded one, which stays up while somebody needs it. */
export async function openRegistry(
  config: EngineConfig,
  home: Home,
): Promise<{ registry: Registry; release: () => Promise<void> }> {
  if (config.registryUrl) {
    return {
      registry: await openPostgresRegistry({ connection: config.registryUrl }),
      release: async () => {},
    };
  }
  const { acquireEmbeddedPostgres } = await import('../registry/embedded/index.ts');
  const postgres = await acquireEmbeddedPostgres({ home: home.path, onStatus: config.onStatus });
  try {
    const registry = await openPostgresRegistry({ connection: postgres.connection });
    return { registry, release: () => postgres.release() };
  } catch (error) {
    await postgres.release();
    throw error;
  }
}
