import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { collectBackup } from '../agent/collect-backup.ts';
import { openScan } from '../agent/open-scan.ts';
import { generateIdentity, recipientOf } from '../blocks/keys.ts';
import { DeltaCalculator } from '../calculate/delta-calculator.ts';
import type { Cell } from '../cell/cell.ts';
import { openCell, setUpCell } from '../cell/open-cell.ts';
import { Committer } from '../commit/committer.ts';
import { DataKey, dataKeyName } from '../commit/data-key.ts';
import { DeltaApplier } from '../commit/delta-applier.ts';
import { PackIntake } from '../commit/pack-intake.ts';
import { agentRoutes, backupRoutes, type OpenReply } from '../contracts/api/control.ts';
import type { BackupView, DomainView } from '../contracts/api/control-views.ts';
import type { HttpClient } from '../http/client.ts';
import { ServerRig } from '../http/rig.suite.ts';
import type { BackupKind } from '../model/label.ts';
import {
  acquireEmbeddedPostgres,
  type EmbeddedPostgres,
  stopEmbeddedPostgres,
} from '../registry/embedded/index.ts';
import { PgBossQueue } from '../schedule/pg-boss-queue.ts';
import type { Policy } from '../schedule/policy.ts';
import { InProcessTransport } from '../transport/in-process.ts';
import { ControlPlane } from './control-plane.ts';

const ADMIN = 'administrator-of-the-tests-0123456789';
const PACK_BYTES = 1024 * 1024;

/** One control plane with its server. */
export interface Running {
  readonly cell: Cell;
  readonly queue: PgBossQueue;
  readonly plane: ControlPlane;
  readonly server: ServerRig;
  stop(): Promise<void>;
}

/** An agent that is enrolled and signed on. */
export interface TestAgent {
  readonly id: string;
  readonly token: string;
  readonly instance: string;
  readonly domain: DomainView;
  readonly client: HttpClient;
}

/** Control planes over real HTTP, on one embedded Postgres and one store in a folder. */
export class ControlRig {
  readonly base: string;
  readonly identity: string;
  readonly recipient: string;
  readonly #postgres: EmbeddedPostgres;
  readonly #running: Running[] = [];

  private constructor(base: string, identity: string, recipient: string, postgres: EmbeddedPostgres) {
    this.base = base;
    this.identity = identity;
    this.recipient = recipient;
    this.#postgres = postgres;
  }

  static async make(): Promise<ControlRig> {
    const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidemark-control-'));
    chmodSync(base, 0o711);
    const postgres = await acquireEmbeddedPostgres({ home: join(base, 'home'), idleSeconds: 1 });
    const identity = await generateIdentity();
    const rig = new ControlRig(base, identity, await recipientOf(identity), postgres);
    await setUpCell(rig.config);
    return rig;
  }

  get config() {
    const { host, port, user, password, database } = this.#postgres.connection;
    return {
      storeUrl: pathToFileURL(join(this.base, 'store')).href,
      registryUrl: `postgresql://${user}:${password}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`,
      onStatus: () => {},
    };
  }

  async run(options: { reapInterval?: number; cell?: Cell; defaultPolicy?: Policy } = {}): Promise<Running> {
    const cell = options.cell ?? (await openCell(this.config));
    const queue = await PgBossQueue.open({ connection: this.#postgres.connection, pollMs: 50 });
    const plane = new ControlPlane({
      cell,
      queue,
      recipients: [this.recipient],
      writers: ['http://writer.test'],
      adminToken: ADMIN,
      defaultPolicy: options.defaultPolicy,
      reapInterval: options.reapInterval ?? 50,
      onError: (error) => {
        throw error;
      },
    });
    plane.start();
    const server = await ServerRig.start(plane.routes(), { authenticator: plane.authenticator });
    const running = {
      cell,
      queue,
      plane,
      server,
      stop: async () => {
        await plane.stop();
        await server.close();
        await queue.close();
        await cell.registry.close();
        await cell.store.close();
      },
    };
    this.#running.push(running);
    return running;
  }

  admin({ server }: Running): HttpClient {
    return server.client(ADMIN);
  }

  async token(running: Running, kind: 'enrol' | 'reader' | 'admin', more: object = {}): Promise<string> {
    const body = { kind, name: kind, ...more };
    return (await this.admin(running).call(agentRoutes.makeToken, { body })).token;
  }

  async reader(running: Running): Promise<HttpClient> {
    return running.server.client(await this.token(running, 'reader'));
  }

  async agent(running: Running, name: string, more: object = {}): Promise<TestAgent> {
    const enrolling = running.server.client(await this.token(running, 'enrol', more));
    const { agent, token, domain } = await enrolling.call(agentRoutes.enrol, { body: { name } });
    const instance = randomUUID();
    const client = running.server.client(token, { instance });
    await client.call(agentRoutes.signOn, { body: {} });
    return { id: agent.id, token, instance, domain, client };
  }

  folder(name: string): string {
    const path = join(this.base, 'sources', name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  open(agent: TestAgent, root: string, kind?: BackupKind): Promise<OpenReply> {
    return agent.client.call(backupRoutes.open, { body: { root, ...(kind && { kind }) } });
  }

  /** A whole backup of a folder, opened by its agent over HTTP; the other stages run in this process. */
  async backUp(running: Running, agent: TestAgent, root: string, kind?: BackupKind): Promise<BackupView> {
    const reply = await this.open(agent, root, kind);
    await collectInto(running.cell, reply, agent.domain, root, join(this.base, `${reply.source.uid}.state`));
    const { backup } = await agent.client.call(backupRoutes.getBackup, {
      params: { id: reply.backup.id },
      query: { wait: 20 },
    });
    return backup;
  }

  async close(): Promise<void> {
    for (const running of this.#running) await running.stop();
    await this.#postgres.release();
    await stopEmbeddedPostgres(join(this.base, 'home'));
    rmSync(this.base, { recursive: true, force: true });
  }
}

const bytes = (text: string): Buffer => Buffer.from(text, 'base64');

async function collectInto(
  cell: Cell,
  { backup: view, source, base }: OpenReply,
  domainView: DomainView,
  root: string,
  stateFile: string,
): Promise<void> {
  const { registry, store } = cell;
  const { id, recipient } = domainView;
  const domain = {
    id,
    recipient,
    dedupKey: bytes(domainView.dedupKey),
    digestKey: bytes(domainView.digestKey),
  };
  const dataKey = new DataKey(domain, (key) => store.create(dataKeyName(key.id), [key.wrapped]));
  const [backup, row] = [(await registry.backups.get(view.id))!, (await registry.catalogue.source(source))!];
  const intake = new PackIntake({
    domainId: id,
    blocks: registry.blocks,
    store,
    wrappedKey: (keyId) => dataKey.wrapped(keyId),
    packBytes: PACK_BYTES,
  });
  const transport = new InProcessTransport({
    onPoison: (_topic, _message, error) => Promise.reject(error),
  });
  const calculator = new DeltaCalculator(registry.entries, async () => ({ backup, source: row }));
  const committer = new Committer({
    registry,
    store,
    ownerGeneration: cell.storeRow.ownerGeneration,
    intake,
    seal: cell.sealFor(domain),
    journal: () => cell.journal(),
    writer: cell.writer,
    now: () => new Date(),
  });
  const committed = Promise.withResolvers<void>();
  const applier = new DeltaApplier(registry, (_, ids) => registry.blocks.present(id, ids), {
    commit: async (one, seal, totals) => {
      const outcome = await committer.commit(one, row, seal, totals);
      if (outcome.state === 'committed') committed.resolve();
      else committed.reject(outcome.error);
    },
    settle: async (one) => void (await committer.settle(one)),
  });
  transport.subscribe('change-events', async (messages) => {
    for (const message of messages)
      await transport.publish('delta-sets', [await calculator.calculate(message)]);
  });
  transport.subscribe('delta-sets', (messages) => applier.apply(messages));
  const { epoch } = view;
  const scan = await openScan(
    base
      ? {
          identity: {
            sourceUid: source.uid,
            seq: base.backup.seq,
            epoch: base.backup.epoch,
            stateDigest: bytes(base.stateDigest),
          },
          label: base.backup.label,
          bytes: base.backup.counts?.bytes,
          damaged: undefined,
          entries: () => registry.entries.list(row.id, base.backup.seq),
        }
      : undefined,
    {
      root: Buffer.from(root),
      kind: view.kind,
      rootHint: source.rootHint ?? undefined,
      excludes: [],
      oneFileSystem: false,
      acceptRoot: false,
      stateFile,
      skip: [],
    },
  );
  const opened = {
    backup: { ...backup, epoch },
    source: row,
    baseDigest: base ? bytes(base.stateDigest) : Buffer.alloc(32),
  };
  try {
    await collectBackup(
      opened,
      scan,
      { intake, transport, domain, sourceKey: row.key, sourceUid: row.uid, keyRange: () => dataKey.range() },
      { threads: 1, onProblem: () => {}, onProgress: () => {}, signal: new AbortController().signal },
    );
    await committed.promise;
    scan.commit();
  } finally {
    scan.close();
    await transport.close();
  }
}
