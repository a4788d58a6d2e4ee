import fastify from 'fastify';
import type { Principal } from '../../libs/http/principal.ts';
import { KnownTokens } from '../../libs/http/rig.suite.ts';
import { bindRoutes } from '../../libs/http/server.ts';
import { serverOptions } from '../../libs/http/server-options.ts';
import { IntakeService } from '../../libs/intake/intake-service.ts';
import { ReadBack } from '../../libs/intake/read-back.ts';
import { registryBackups } from '../../libs/intake/registry-backups.ts';
import { writerBindings } from '../../libs/intake/writer-bindings.ts';
import type { BlocksTable, Registry } from '../../libs/registry/port.ts';
import { openPostgresRegistry } from '../../libs/registry/postgres/open-postgres-registry.ts';
import { openFileStore } from '../../libs/store/file/file-store.ts';
import type { Store } from '../../libs/store/port.ts';

/** Where a put stops for ever, having said so, so that it can be killed there. */
export type StopAt = 'row' | 'object' | 'block-rows' | 'never';

export interface WriterProcess {
  readonly connection: Parameters<typeof openPostgresRegistry>[0]['connection'];
  readonly storeUrl: string;
  readonly tokens: readonly (readonly [string, Principal])[];
  readonly stopAt: StopAt;
}

const given = JSON.parse(process.env.WRITER!) as WriterProcess;

async function stop(at: StopAt): Promise<void> {
  if (given.stopAt !== at) return;
  process.stdout.write(`stopped ${at}\n`);
  await new Promise(() => {});
}

const registry = await openPostgresRegistry({ connection: given.connection });
const store = await openFileStore(given.storeUrl, { create: false });

const blocks: Pick<BlocksTable, 'present' | 'locate' | 'beginPack' | 'finishPack'> = {
  present: (domain, ids) => registry.blocks.present(domain, ids),
  locate: (domain, ids) => registry.blocks.locate(domain, ids),
  beginPack: async (domain, pack) => {
    await registry.blocks.beginPack(domain, pack);
    await stop('row');
  },
  finishPack: async (domain, pack, rows) => {
    await stop('object');
    await registry.blocks.finishPack(domain, pack, rows);
    await stop('block-rows');
  },
};
const stopping = { blocks: blocks as BlocksTable, entries: registry.entries } satisfies Partial<Registry>;
const deps = {
  registry: stopping,
  store: store as Store,
  backupOf: registryBackups(registry),
};
const tokens = new KnownTokens();
for (const [token, principal] of given.tokens) tokens.add(token, principal);
const app = fastify(serverOptions());
await bindRoutes(app, writerBindings(new IntakeService(deps), new ReadBack(deps)), { authenticator: tokens });
process.stdout.write(`listening ${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
