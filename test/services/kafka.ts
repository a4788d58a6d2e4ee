import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { kafkaJars } from './kafka-distribution.ts';
import { type ClusterPlan, KafkaNode, kafkaUuid, type NodePorts } from './kafka-node.ts';

export { kafkaMissing } from './kafka-distribution.ts';

const run = promisify(execFile);
const READY_MS = 90_000;

export interface KafkaOptions {
  /** 1 or 3. */
  readonly nodes?: 1 | 3;
  /** Clients have to come with TLS, and a user and password by SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN. */
  readonly secure?: boolean;
}

/** Of a secure cluster. */
export const KAFKA_USER = { username: 'tidemark', password: 'swordfish' };
const LISTENER = 'listener.name.client';

/** Ports that nobody listens on at the moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A self-signed certificate for the loopback address; gives the file that clients have to trust. */
async function makeCertificate(folder: string): Promise<string> {
  const store = ['-keystore', join(folder, 'keys.p12'), '-storepass', KAFKA_USER.password, '-alias', 'kafka'];
  const names = ['-dname', 'CN=tidemark-test', '-ext', 'SAN=ip:127.0.0.1'];
  const algorithm = ['-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '2'];
  await run('keytool', ['-genkeypair', ...store, ...names, ...algorithm, '-storetype', 'PKCS12']);
  const file = join(folder, 'ca.pem');
  await run('keytool', ['-exportcert', '-rfc', ...store, '-file', file]);
  return file;
}

function security(folder: string): Record<string, string> {
  const { username, password } = KAFKA_USER;
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  const plain = `org.apache.kafka.common.security.plain.PlainLoginModule required user_${username}="${password}";`;
  return {
    'sasl.enabled.mechanisms': 'SCRAM-SHA-256,SCRAM-SHA-512,PLAIN',
    [`${LISTENER}.scram-sha-256.sasl.jaas.config`]: scram,
    [`${LISTENER}.scram-sha-512.sasl.jaas.config`]: scram,
    [`${LISTENER}.plain.sasl.jaas.config`]: plain,
    [`${LISTENER}.ssl.keystore.type`]: 'PKCS12',
    [`${LISTENER}.ssl.keystore.location`]: join(folder, 'keys.p12'),
    [`${LISTENER}.ssl.keystore.password`]: password,
    [`${LISTENER}.ssl.key.password`]: password,
  };
}

/** Real Kafka: one or three processes on loopback ports, everything in a temporary folder. */
export class KafkaCluster {
  readonly #plan: ClusterPlan;
  readonly #nodes: readonly KafkaNode[];
  /** Certificate that clients of a secure cluster have to trust. */
  readonly ca: Buffer | undefined;
  readonly #killAll = () => {
    for (const { pid } of this.#nodes) if (pid) process.kill(pid, 'SIGKILL');
  };

  private constructor(plan: ClusterPlan, ca: Buffer | undefined) {
    this.#plan = plan;
    this.ca = ca;
    this.#nodes = plan.ports.map((_, index) => new KafkaNode(plan, index));
  }

  static async start({ nodes = 1, secure = false }: KafkaOptions = {}): Promise<KafkaCluster> {
    const jars = await kafkaJars();
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-kafka-'));
    const ca = secure ? readFileSync(await makeCertificate(folder)) : undefined;
    const ports = await freePorts(nodes * 3);
    const { username, password } = KAFKA_USER;
    const cluster = new KafkaCluster(
      {
        id: kafkaUuid(),
        folder,
        jars,
        ports: Array.from({ length: nodes }, (_, i): NodePorts => {
          const [client, internal, controller] = ports.slice(i * 3, i * 3 + 3) as [number, number, number];
          return { client, internal, controller };
        }),
        directoryIds: Array.from({ length: nodes }, kafkaUuid),
        security: secure ? security(folder) : undefined,
        scram: secure
          ? ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map(
              (kind) => `${kind}=[name=${username},password=${password}]`,
            )
          : [],
      },
      ca,
    );
    await cluster.#begin();
    return cluster;
  }

  async #begin(): Promise<void> {
    process.once('exit', this.#killAll);
    try {
      await Promise.all(this.#nodes.map((node) => node.format()));
      for (const node of this.#nodes) node.start();
      await this.#ready();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Addresses for clients; of a secure cluster for such as know the password. */
  get brokers(): string[] {
    return this.#plan.ports.map(({ client }) => `127.0.0.1:${client}`);
  }

  /** Addresses that ask for no password, for a test's own look at what is there. */
  get internalBrokers(): string[] {
    return this.#plan.ports.map(({ internal }) => `127.0.0.1:${internal}`);
  }

  /** Resolves when all nodes are members of the cluster. */
  async #ready(): Promise<void> {
    const kafka = new Kafka({
      brokers: this.internalBrokers,
      logLevel: logLevel.NOTHING,
      connectionTimeout: 1000,
      retry: { retries: 0 },
    });
    const until = Date.now() + READY_MS;
    for (;;) {
      const admin = kafka.admin();
      try {
        await admin.connect();
        const { brokers, controller } = await admin.describeCluster();
        if (brokers.length === this.#nodes.length && controller !== null) return;
      } catch (error) {
        if (Date.now() > until) throw error;
      } finally {
        await admin.disconnect();
      }
      const failure = this.#nodes.map((node) => node.failure()).find((text) => text !== undefined);
      if (failure) throw new Error(failure);
      await setTimeout(100);
    }
  }

  /** Node ids are 1 to 3, as in metadata. */
  #node(id: number): KafkaNode {
    return this.#nodes[id - 1]!;
  }

  /** As a power cut would do. */
  async kill(id = 1): Promise<void> {
    await this.#node(id).end('SIGKILL');
  }

  async stop(id = 1): Promise<void> {
    await this.#node(id).end('SIGTERM');
  }

  /** It answers nobody any more, and keeps its connections: as on a machine that hangs. Until `thaw`. */
  freeze(id = 1): void {
    process.kill(this.#node(id).pid!, 'SIGSTOP');
  }

  thaw(id = 1): void {
    process.kill(this.#node(id).pid!, 'SIGCONT');
  }

  /** After `kill` or `stop`: resolves when the whole cluster is there again. */
  async restart(id = 1): Promise<void> {
    this.#node(id).start();
    await this.#ready();
  }

  /** Ends everything and removes its folder. */
  async close(): Promise<void> {
    process.off('exit', this.#killAll);
    await Promise.all(this.#nodes.map((node) => node.end('SIGKILL')));
    rmSync(this.#plan.folder, { recursive: true, force: true });
  }
}
