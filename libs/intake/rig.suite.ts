import { randomBytes, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PlainBlock } from '../blocks/frame.ts';
import { FrameSealer } from '../blocks/frame.ts';
import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { type BlockKind, BlockKind as Kind, type SealedFrame } from '../blocks/intake.ts';
import { type DomainSecret, type NewDataKey, newDataKey, newDomain } from '../blocks/keys.ts';
import type { Principal } from '../http/principal.ts';
import { KnownTokens, ServerRig } from '../http/rig.suite.ts';
import { KeyedHasher } from '../model/digests.ts';
import { TestHome } from '../registry/embedded/fixtures.suite.ts';
import { acquireEmbeddedPostgres, type EmbeddedPostgres } from '../registry/embedded/index.ts';
import { NOW } from '../registry/fixtures.suite.ts';
import type { OpenedBackup, Registry, SourceRow } from '../registry/port.ts';
import { openPostgresRegistry } from '../registry/postgres/open-postgres-registry.ts';
import { openFileStore } from '../store/file/file-store.ts';
import type { CollectableStore, Store } from '../store/port.ts';
import type { BackupOf } from './access.ts';
import { IntakeService } from './intake-service.ts';
import { ReadBack } from './read-back.ts';
import { registryBackups } from './registry-backups.ts';
import { writerBindings } from './writer-bindings.ts';
import { Writers } from './writers.ts';

export const INSTANCE = '00112233-4455-6677-8899-aabbccddeeff';
export const AGENT = 'tm_agent_a1_x';
export const FOREIGN = 'tm_agent_a2_x';
export const READER = 'tm_reader_r1_x';

/** A registry and a store for storage writers, and an agent that has one data key. */
export class IntakeRig {
  readonly registry: Registry;
  readonly store: CollectableStore;
  readonly storeUrl: string;
  readonly domain: DomainSecret;
  readonly dataKey: NewDataKey;
  readonly tokens = new KnownTokens();
  readonly agentUid = randomUUID();
  readonly #home: TestHome;
  readonly #postgres: EmbeddedPostgres;
  readonly #ids: KeyedHasher;
  readonly #sealer: FrameSealer;
  readonly #servers: ServerRig[] = [];

  private constructor(
    home: TestHome,
    postgres: EmbeddedPostgres,
    registry: Registry,
    store: CollectableStore,
    storeUrl: string,
    domain: DomainSecret,
    dataKey: NewDataKey,
  ) {
    this.#home = home;
    this.#postgres = postgres;
    this.registry = registry;
    this.store = store;
    this.storeUrl = storeUrl;
    this.domain = domain;
    this.dataKey = dataKey;
    this.#ids = new KeyedHasher(domain.dedupKey);
    const { id: keyId, key } = dataKey;
    this.#sealer = new FrameSealer({ domainId: domain.id, keyId, key, firstFrameNo: 0, endFrameNo: 2 ** 40 });
    this.tokens.add(AGENT, { agentUid: this.agentUid, domain: domain.id });
    this.tokens.add(FOREIGN, { agentUid: randomUUID(), domain: domain.id });
    this.tokens.add(READER);
  }

  static async make(): Promise<IntakeRig> {
    const home = new TestHome();
    const postgres = await acquireEmbeddedPostgres({ home: home.home });
    const registry = await openPostgresRegistry({ connection: postgres.connection });
    const url = pathToFileURL(join(home.parent, 'store')).href;
    const store = await openFileStore(url, { create: true });
    const domain = await newDomain(randomUUID(), randomBytes(32));
    return new IntakeRig(home, postgres, registry, store, url, domain, await newDataKey(domain));
  }

  get connection(): EmbeddedPostgres['connection'] {
    return this.#postgres.connection;
  }

  get folder(): string {
    return this.#home.parent;
  }

  /** Who the agent's token stands for. */
  get agent(): Principal {
    return this.tokens.tokens.get(AGENT)!;
  }

  async close(): Promise<void> {
    await this.stopServers();
    this.#sealer.close();
    await this.registry.close();
    await this.store.close();
    await this.#postgres.release();
    await this.#home.dispose();
    rmSync(this.#home.parent, { recursive: true, force: true });
  }

  /** A new source of the agent. */
  async source(root = `/${randomUUID()}`): Promise<SourceRow> {
    const { agentUid, domain } = this;
    await this.registry.access.addAgent({ uid: agentUid, name: 'host', domain: domain.id });
    return this.registry.backups.ensureSource({
      ...{ uid: randomUUID(), agent: 'host', agentUid, root: Buffer.from(root), key: randomBytes(32) },
      domain: domain.id,
    });
  }

  /** An open backup of a new source of the agent. */
  async open(): Promise<OpenedBackup> {
    const source = await this.source();
    return this.registry.backups.open({ sourceId: source.id, kind: 'full', tags: {} }, NOW);
  }

  get backupOf(): BackupOf {
    return registryBackups(this.registry);
  }

  /** A storage writer on a port of its own. */
  async server(
    options: { store?: Store; budgetBytes?: number; limits?: { idle: number } } = {},
  ): Promise<ServerRig> {
    const store = options.store ?? this.store;
    const deps = { registry: this.registry, store, backupOf: this.backupOf, ...options };
    const bindings = writerBindings(new IntakeService({ ...deps, store }), new ReadBack({ ...deps, store }));
    const { limits } = options;
    const server = await ServerRig.start(bindings, { tokens: this.tokens, ...(limits && { limits }) });
    this.#servers.push(server);
    return server;
  }

  /** Without HTTP. */
  intake(): IntakeService {
    return new IntakeService({ registry: this.registry, store: this.store, backupOf: this.backupOf });
  }

  async stopServers(): Promise<void> {
    for (const server of this.#servers.splice(0)) await server.close();
  }

  writers(servers: readonly ServerRig[], more: { deadline?: number; token?: string } = {}): Writers {
    const { token = AGENT, deadline = 20_000 } = more;
    return new Writers({
      clients: servers.map((server) => server.client(token, { instance: INSTANCE })),
      deadline,
      world: {
        now: () => performance.now(),
        sleep: () => new Promise((resolve) => setImmediate(resolve)),
        random: Math.random,
      },
    });
  }

  block(bytes: Buffer, kind: BlockKind = Kind.data, children = Buffer.alloc(0)): PlainBlock {
    return { id: this.#ids.digest(bytes), length: bytes.length, kind, children, bytes };
  }

  /** A frame of blocks of random bytes. */
  frame(...lengths: readonly number[]): SealedFrame {
    return this.seal(...lengths.map((length) => this.block(randomBytes(length))));
  }

  seal(...blocks: readonly PlainBlock[]): SealedFrame {
    return this.#sealer.seal(blocks);
  }

  async present(frames: readonly SealedFrame[]): Promise<number[]> {
    return [...(await this.registry.blocks.present(this.domain.id, idsOf(frames)))];
  }

  /** Names of all packs in the store. */
  async packs(): Promise<string[]> {
    return (await Array.fromAsync(this.store.list('packs/'))).map(({ name }) => name);
  }
}

export const idsOf = (frames: readonly SealedFrame[]): Buffer =>
  Buffer.concat(frames.flatMap(({ index }) => decodeFrameBlocks(index)).map(({ id }) => id));
