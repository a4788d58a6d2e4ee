import { TestHome } from '../embedded/fixtures.suite.ts';
import { acquireEmbeddedPostgres } from '../embedded/index.ts';
import { registrySuite } from '../registry.suite.ts';
import { openPostgresRegistry, type PostgresConnection } from './open-postgres-registry.ts';

async function under(toConnection: (server: Exclude<PostgresConnection, string>) => PostgresConnection) {
  const home = new TestHome();
  const postgres = await acquireEmbeddedPostgres({ home: home.home });
  const open = () => openPostgresRegistry({ connection: toConnection(postgres.connection) });
  return {
    registry: await open(),
    other: open,
    cleanup: async () => {
      await postgres.release();
      await home.dispose();
    },
  };
}

registrySuite('the embedded Postgres', () => under((server) => server));

/** As TIDEMARK_REGISTRY_URL names a server of the user's own. */
registrySuite('a Postgres by URL', () =>
  under(({ user, password, host, port, database }) => {
    const auth = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
    return `postgres://${auth}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
  }),
);
