import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { generateIdentity, recipientOf } from '../../libs/blocks/keys.ts';
import { ChangeEvents } from '../../libs/calculate/change-events.ts';
import type { Cell } from '../../libs/cell/cell.ts';
import { openCell, setUpCell } from '../../libs/cell/open-cell.ts';
import { agentRoutes } from '../../libs/contracts/api/control.ts';
import { ControlPlane } from '../../libs/control/control-plane.ts';
import type { HttpClient } from '../../libs/http/client.ts';
import { ServerRig } from '../../libs/http/rig.suite.ts';
import { eventBindings } from '../../libs/intake/event-bindings.ts';
import { IntakeService } from '../../libs/intake/intake-service.ts';
import { ReadBack } from '../../libs/intake/read-back.ts';
import { registryBackups } from '../../libs/intake/registry-backups.ts';
import { writerBindings } from '../../libs/intake/writer-bindings.ts';
import { TmError } from '../../libs/model/errors.ts';
import { acquireEmbeddedPostgres, type EmbeddedPostgres } from '../../libs/registry/embedded/index.ts';
import { PgBossQueue } from '../../libs/schedule/pg-boss-queue.ts';
import { InProcessTransport } from '../../libs/transport/in-process.ts';
import { DeltaSets } from '../../libs/writer/delta-sets.ts';
import { failBackup } from '../../libs/writer/end-backup.ts';
import { Place } from '../command.ts';

const ADMIN = 'administrator-of-the-tests-0123456789';

/**
 * Control plane, writer and calculator of one cell on a port of the loopback, with the in-process transport between
 * them, for the command as a process of its own.
 */
export class Services {
  readonly place: Place;
  readonly cell: Cell;
  readonly url: string;
  readonly #admin: HttpClient;
  readonly #end: (() => Promise<unknown>)[];

  private constructor(place: Place, cell: Cell, server: ServerRig, end: (() => Promise<unknown>)[]) {
    this.place = place;
    this.cell = cell;
    this.url = server.url;
    this.#admin = server.client(ADMIN);
    this.#end = end;
  }

  /** The place's `home` is the client's; the services have their own. */
  static async start(name: string): Promise<Services> {
    const place = await Place.make(name);
    const postgres = await acquireEmbeddedPostgres({ home: place.path('services') });
    const identity = await generateIdentity();
    writeFileSync(place.path('identity'), `${identity}\n`, { mode: 0o600 });
    const config = {
      storeUrl: pathToFileURL(place.path('store')).href,
      registryUrl: urlOf(postgres),
      onStatus: () => {},
    };
    await setUpCell(config);
    const cell = await openCell(config);
    const queue = await PgBossQueue.open({ connection: postgres.connection, pollMs: 50 });
    const writers: string[] = [];
    const failures: unknown[] = [];
    const plane = new ControlPlane({
      cell,
      queue,
      writers,
      recipients: [await recipientOf(identity)],
      adminToken: ADMIN,
      reapInterval: 500,
      onError: (error) => failures.push(error),
    });
    const { transport, bindings } = streamOf(cell);
    const { authenticator } = plane;
    const server = await ServerRig.start([...plane.routes(), ...bindings], { authenticator });
    writers.push(server.url);
    plane.start();
    const end = [
      () => plane.stop(),
      () => server.close(),
      () => transport.close(),
      () => queue.close(),
      () => cell.registry.close(),
      () => cell.store.close(),
      () => postgres.release(),
      async () => {
        if (failures.length > 0) throw failures[0];
      },
    ];
    return new Services(place, cell, server, end);
  }

  /** Everything that a client of an administrator's needs. */
  async client(): Promise<NodeJS.ProcessEnv> {
    return {
      TIDEMARK_SERVER: this.url,
      TIDEMARK_TOKEN: (await this.token('reader')).token,
      TIDEMARK_IDENTITY: this.place.path('identity'),
    };
  }

  token(kind: 'enrol' | 'reader' | 'admin'): Promise<{ id: string; token: string }> {
    return this.#admin.call(agentRoutes.makeToken, { body: { kind, name: kind } });
  }

  async revoke(id: string): Promise<void> {
    await this.#admin.call(agentRoutes.revokeToken, { params: { id } });
  }

  async close(): Promise<void> {
    for (const end of this.#end) await end();
    await this.place.dispose(this.place.path('services'));
  }
}

function urlOf({ connection }: EmbeddedPostgres): string {
  const { host, port, user, password, database } = connection;
  return `postgresql://${user}:${password}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
}

function streamOf(cell: Cell) {
  const { registry, store } = cell;
  const transport = new InProcessTransport({
    onPoison: async (_topic, message, error) => {
      const { header, backupId } = message as { header?: { backupId: string }; backupId?: string };
      const code = error instanceof TmError ? error.code : 'TM1099';
      await failBackup(registry, (header?.backupId ?? backupId)!, code);
    },
  });
  const events = new ChangeEvents(registry, (messages) => transport.publish('delta-sets', messages));
  const deltas = new DeltaSets({
    cell,
    sourceOf: async (id) => (await registry.backups.sources()).find((one) => one.id === id)!,
    domainOf: async (uid) => (await registry.domains.get(uid))!,
    onEnded: () => {},
  });
  transport.subscribe('change-events', events.handle);
  transport.subscribe('delta-sets', deltas.handle);
  const backupOf = registryBackups(registry);
  const intake = new IntakeService({ registry, store, backupOf });
  const bindings = [
    ...writerBindings(intake, new ReadBack({ registry, store, backupOf })),
    ...eventBindings({ registry, transport, backupOf }),
  ];
  return { transport, bindings };
}

const TREE = join(import.meta.dirname, '../cycle/tree.py');
const DIFF = join(import.meta.dirname, '../cycle/treediff.py');

export function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

export const makeTree = (path: string): string => run('python3', TREE, 'make', path);
export const editTree = (path: string, round: number): string =>
  run('python3', TREE, 'edit', String(round), path);
/** Differences by kind; empty when the trees are the same in everything. */
export const differences = (a: string, b: string): unknown =>
  JSON.parse(spawnSync('python3', [DIFF, a, b], { encoding: 'utf8' }).stdout).diff;
