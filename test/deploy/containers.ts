import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PostgreSqlContainer } from '@testcontainers/postgresql';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { freePort } from '../services/free-port.ts';
import { OWNER_LABEL, TOP } from './engine.ts';

// Its own sweeper is an image that not every machine can have; `removeLeftovers` does its work at the next run.
process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';

const STARTS_WITHIN_MS = 120_000;
const LABELS = { [OWNER_LABEL]: String(process.pid) };
const COMPOSE_FILES = join(TOP, 'deploy/compose');

export interface Container {
  /** Where it is reached from this host. */
  readonly address: string;
  readonly stop: () => Promise<void>;
}

const started = (container: StartedTestContainer, address: string): Container => ({
  address,
  stop: async () => void (await container.stop({ removeVolumes: true })),
});

/** `address` is a postgres:// URL of a superuser. */
export async function startPostgres(): Promise<Container> {
  const container = await new PostgreSqlContainer('postgres:18-alpine')
    .withLabels(LABELS)
    .withStartupTimeout(STARTS_WITHIN_MS)
    .start();
  return started(container, container.getConnectionUri());
}

/** The broker of the compose stack, with a listener that is advertised as what the host reaches. */
export async function startKafka(): Promise<Container> {
  const port = await freePort();
  const stated = await readFile(join(COMPOSE_FILES, 'kafka.properties'), 'utf8');
  const content = stated
    .replace('listeners=', 'listeners=HOST://:19092,')
    .replace(
      'advertised.listeners=CLIENTS://kafka:9092',
      `advertised.listeners=HOST://127.0.0.1:${port},CLIENTS://localhost:9092`,
    )
    .replace('protocol.map=', 'protocol.map=HOST:PLAINTEXT,');
  const container = await new GenericContainer('apache/kafka:4.3.1')
    .withLabels(LABELS)
    .withExposedPorts({ container: 19092, host: port })
    .withCopyContentToContainer([{ content, target: '/opt/tidemark/kafka.properties' }])
    .withCopyFilesToContainer([
      { source: join(COMPOSE_FILES, 'run-kafka.sh'), target: '/opt/tidemark/run-kafka.sh', mode: 0o755 },
    ])
    .withCommand(['/opt/tidemark/run-kafka.sh'])
    .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
    .withStartupTimeout(STARTS_WITHIN_MS)
    .start();
  return started(container, `127.0.0.1:${port}`);
}

/** `address` is the endpoint; `buckets` are there at the start. */
export async function startGcs(bucket: string): Promise<Container> {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const container = await new GenericContainer('fsouza/fake-gcs-server:1.55.1')
    .withLabels(LABELS)
    .withExposedPorts({ container: 4443, host: port })
    .withEntrypoint(['/bin/fake-gcs-server'])
    .withCommand([
      '-scheme=http',
      '-host=0.0.0.0',
      '-port=4443',
      '-backend=memory',
      `-external-url=${address}`,
      `-public-host=127.0.0.1:${port}`,
    ])
    .withWaitStrategy(Wait.forHttp('/storage/v1/b?project=test', 4443))
    .withStartupTimeout(STARTS_WITHIN_MS)
    .start();
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ name: bucket });
  const reply = await fetch(`${address}/storage/v1/b?project=test`, { method: 'POST', headers, body });
  if (!reply.ok) throw new Error(`bucket ${bucket}: ${reply.status} ${await reply.text()}`);
  return started(container, address);
}
