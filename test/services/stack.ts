import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateIdentity, recipientOf } from '../../libs/blocks/keys.ts';
import { HttpClient } from '../../libs/http/client.ts';
import {
  acquireEmbeddedPostgres,
  type EmbeddedPostgres,
  stopEmbeddedPostgres,
} from '../../libs/registry/embedded/index.ts';
import { freePort } from './free-port.ts';
import { KafkaCluster } from './kafka.ts';

const DIST = join(import.meta.dirname, '../../dist/apps');
const STARTS_WITHIN_MS = 60_000;
const STOPS_WITHIN_MS = 15_000;
/** After that what a killed service was at comes to another one. */
const SESSION_SECONDS = 10;

export type App = 'fs-monitor-agent' | 'delta-calculator' | 'storage-writer' | 'control-plane';

/** One service as a process of its own; its log is a file. */
export class ServiceProcess {
  readonly app: App;
  /** Of the process and its connections to the registry. */
  readonly name: string;
  readonly url: string;
  readonly logFile: string;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> = Promise.resolve(null);

  constructor(app: App, port: number, logFile: string, env: NodeJS.ProcessEnv) {
    this.app = app;
    this.name = `${app}-${port}`;
    this.url = `http://127.0.0.1:${port}`;
    this.logFile = logFile;
    const registryUrl = env.TIDEMARK_REGISTRY_URL;
    this.#env = {
      LOG_LEVEL: 'debug',
      ...env,
      ...(registryUrl && { TIDEMARK_REGISTRY_URL: `${registryUrl}&application_name=${this.name}` }),
      TIDEMARK_LISTEN: `127.0.0.1:${port}`,
    };
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  get ended(): Promise<number | null> {
    return this.#ended;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const out = openSync(this.logFile, 'a');
    const flags = ['--disable-warning=ExperimentalWarning'];
    const child = spawn(process.execPath, [...flags, join(DIST, this.app, 'main.js')], {
      env: this.#env,
      stdio: ['ignore', out, out],
    });
    closeSync(out);
    this.#child = child;
    this.#ended = new Promise((done) => child.once('exit', (code) => done(code)));
  }

  async ready(): Promise<void> {
    const end = performance.now() + STARTS_WITHIN_MS;
    while (performance.now() < end && this.#child?.exitCode === null) {
      const reply = await fetch(`${this.url}/health/ready`).catch(() => undefined);
      if (reply?.ok) return;
      await sleep(50);
    }
    throw new Error(`${this.app} does not become ready:\n${this.log.slice(-6000)}`);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child?.kill(signal);
  }

  /** As a power cut would do: resolves when the process is gone. */
  async crash(): Promise<void> {
    this.kill();
    await this.#ended;
  }

  /** In order; its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    child?.kill('SIGTERM');
    const late = setTimeout(() => child?.kill('SIGKILL'), STOPS_WITHIN_MS);
    try {
      return await this.#ended;
    } finally {
      clearTimeout(late);
    }
  }
}

export interface StackOptions {
  readonly calculators?: number;
  readonly writers?: number;
  readonly controlPlanes?: number;
  /** Default: a folder. */
  readonly store?: { readonly url: string; readonly gcsEndpoint: string };
  /** More variables of all services. */
  readonly env?: Readonly<Record<string, string>>;
  /** More variables of the control planes. */
  readonly controlEnv?: Readonly<Record<string, string>>;
  /** More variables of a writer, by its number. */
  readonly writerEnv?: (number: number) => Promise<Readonly<Record<string, string>>>;
  /** The URL under which agents reach a writer; by default its own. */
  readonly writerUrl?: (url: string) => Promise<string>;
}

/** Kafka, Postgres and all services as processes on loopback; agents are added by the test. */
export class Stack {
  readonly base: string;
  readonly kafka: KafkaCluster;
  readonly adminToken = randomBytes(24).toString('base64url');
  readonly calculators: ServiceProcess[] = [];
  readonly writers: ServiceProcess[] = [];
  readonly controlPlanes: ServiceProcess[] = [];
  readonly agents: ServiceProcess[] = [];
  readonly identity: string;
  readonly registryUrl: string;
  readonly storeUrl: string;
  readonly #postgres: EmbeddedPostgres;
  readonly #options: StackOptions;

  private constructor(
    base: string,
    kafka: KafkaCluster,
    postgres: EmbeddedPostgres,
    identity: string,
    options: StackOptions,
  ) {
    this.base = base;
    this.kafka = kafka;
    this.identity = identity;
    this.storeUrl = options.store?.url ?? `file://${base}/store`;
    this.#postgres = postgres;
    this.#options = options;
    const { user, password, database, host, port } = postgres.connection;
    this.registryUrl = `postgres://${user}:${encodeURIComponent(password)}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
  }

  static async start(options: StackOptions = {}): Promise<Stack> {
    const base = mkdtempSync(join(tmpdir(), 'tidemark-stack-'));
    chmodSync(base, 0o711);
    const [kafka, postgres, identity] = await Promise.all([
      KafkaCluster.start(),
      acquireEmbeddedPostgres({ home: join(base, 'registry') }),
      generateIdentity(),
    ]);
    const stack = new Stack(base, kafka, postgres, identity, options);
    try {
      await stack.#begin();
      return stack;
    } catch (error) {
      await stack.close();
      throw error;
    }
  }

  /** Of the store, where it is an emulator's. */
  get gcsEndpoint(): string | undefined {
    return this.#options.store?.gcsEndpoint;
  }

  get control(): ServiceProcess {
    return this.controlPlanes[0]!;
  }

  get services(): ServiceProcess[] {
    return [...this.agents, ...this.calculators, ...this.writers, ...this.controlPlanes];
  }

  /** What the services' logs say of warnings and errors. */
  get troubles(): string {
    const lines = this.services.flatMap(({ log }) => log.split('\n'));
    return lines.filter((line) => /"level":"(warn|error|fatal)"/.test(line)).join('\n');
  }

  /** An administrator's client of the first control plane. */
  admin(): HttpClient {
    return new HttpClient({ server: this.control.url, token: this.adminToken });
  }

  /** Variables of a service that has a registry. */
  get #common(): NodeJS.ProcessEnv {
    const { store, env } = this.#options;
    return {
      PATH: process.env.PATH,
      TIDEMARK_REGISTRY_URL: this.registryUrl,
      TIDEMARK_KAFKA_BROKERS: this.kafka.brokers.join(','),
      TIDEMARK_STORE: this.storeUrl,
      ...(store && { TIDEMARK_GCS_ENDPOINT: store.gcsEndpoint }),
      ...env,
    };
  }

  async #begin(): Promise<void> {
    const { calculators = 1, writers = 1, controlPlanes = 1, writerEnv } = this.#options;
    const { writerUrl = async (url) => url } = this.#options;
    await this.#setUp();
    const common: NodeJS.ProcessEnv = { ...this.#common, TIDEMARK_KAFKA_SESSION: String(SESSION_SECONDS) };
    const { TIDEMARK_STORE: _, TIDEMARK_GCS_ENDPOINT: __, ...withoutStore } = common;
    for (let i = 0; i < calculators; i++)
      this.calculators.push(await this.#service('delta-calculator', withoutStore));
    for (let i = 0; i < writers; i++) {
      const own = { ...common, ...(await writerEnv?.(i)) };
      this.writers.push(await this.#service('storage-writer', own));
    }
    const env = {
      ...common,
      TIDEMARK_WRITERS: (await Promise.all(this.writers.map(({ url }) => writerUrl(url)))).join(','),
      TIDEMARK_RECIPIENTS: await recipientOf(this.identity),
      TIDEMARK_ADMIN_TOKEN: this.adminToken,
      ...this.#options.controlEnv,
    };
    for (let i = 0; i < controlPlanes; i++)
      this.controlPlanes.push(await this.#service('control-plane', env));
    for (const service of this.services) service.start();
    await Promise.all(this.services.map((service) => service.ready()));
  }

  async #setUp(): Promise<void> {
    const child = spawn(process.execPath, [join(DIST, 'control-plane/main.js'), 'setup'], {
      env: { ...this.#common, TIDEMARK_KAFKA_PARTITIONS: '4' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (text += part));
    const code = await new Promise((done) => child.once('close', done));
    if (code !== 0) throw new Error(`setup ended with ${code}:\n${text}`);
  }

  async #service(app: App, env: NodeJS.ProcessEnv): Promise<ServiceProcess> {
    const port = await freePort();
    return new ServiceProcess(app, port, join(this.base, `${app}-${port}.log`), env);
  }

  /** An agent that is enrolled and signed on. */
  async addAgent(name: string, env: NodeJS.ProcessEnv = {}): Promise<ServiceProcess> {
    mkdirSync(this.homeOf(name), { mode: 0o700 });
    const agent = await this.agentOn(name, { TIDEMARK_ENROL_TOKEN: await this.enrolToken(), ...env });
    agent.start();
    await agent.ready();
    return agent;
  }

  homeOf(name: string): string {
    return join(this.base, `home-${name}`);
  }

  /** An agent's process with the home of that name, not started yet. */
  async agentOn(name: string, env: NodeJS.ProcessEnv = {}): Promise<ServiceProcess> {
    const agent = await this.#service('fs-monitor-agent', {
      PATH: process.env.PATH,
      TIDEMARK_KAFKA_BROKERS: this.kafka.brokers.join(','),
      TIDEMARK_SERVER: this.control.url,
      TIDEMARK_HOME: this.homeOf(name),
      TIDEMARK_AGENT_NAME: name,
      ...env,
    });
    this.agents.push(agent);
    return agent;
  }

  async enrolToken(): Promise<string> {
    const { agentRoutes } = await import('../../libs/contracts/api/control.ts');
    const admin = this.admin();
    const { token } = await admin.call(agentRoutes.makeToken, { body: { kind: 'enrol', name: 'test' } });
    admin.close();
    return token;
  }

  async close(): Promise<void> {
    for (const service of this.services) service.kill();
    await Promise.all(this.services.map(({ ended }) => ended));
    await this.kafka.close();
    await this.#postgres.release();
    for (const home of ['registry', 'rebuilt']) await stopEmbeddedPostgres(join(this.base, home));
    rmSync(this.base, { recursive: true, force: true });
  }
}
