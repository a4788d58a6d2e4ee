import { cellDependencies, openServiceCell } from '../../libs/service/compose-cell.ts';
import { openKafka } from '../../libs/service/compose-kafka.ts';
import { listenOf, readConfig } from '../../libs/service/config.ts';
import type { Log } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import { type RunningService, startService } from '../../libs/service/run-service.ts';
import { STORAGE_WRITER } from './config.ts';
import { StorageWriterModule } from './storage-writer.module.ts';
import { makeStorageWriter } from './storage-writer.ts';

/** Needs a store credential that may create and read objects; deleting is not its business. */
export async function startStorageWriter(env: NodeJS.ProcessEnv, log: Log): Promise<RunningService> {
  const config = readConfig(STORAGE_WRITER, env);
  log.level = config.LOG_LEVEL;
  const metrics = new Metrics();
  const cell = await openServiceCell(config, log);
  const { registry, store } = cell;
  const transport = openKafka(config, { name: 'storage-writer', registry, metrics, log });
  const writer = makeStorageWriter(cell, transport, {
    log,
    metrics,
    uploadMemory: config.TIDEMARK_UPLOAD_MEMORY,
    adminToken: config.TIDEMARK_ADMIN_TOKEN,
  });
  return startService({
    name: 'storage-writer',
    modules: [StorageWriterModule.of(writer.deltaSets)],
    listen: listenOf(config.TIDEMARK_LISTEN),
    log,
    metrics,
    parts: {
      transport,
      bindings: writer.bindings,
      authenticator: writer.authenticator,
      dependencies: [
        ...cellDependencies(cell),
        { name: 'kafka', check: () => transport.check(['delta-sets', 'commits']) },
      ],
      start: async () => writer.outbox.start(),
      async close() {
        await writer.outbox.close();
        await registry.close();
        await store.close();
      },
    },
  });
}
