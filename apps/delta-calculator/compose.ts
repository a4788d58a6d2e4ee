import { ChangeEvents } from '../../libs/calculate/change-events.ts';
import { openPostgresRegistry } from '../../libs/registry/postgres/open-postgres-registry.ts';
import { openKafka } from '../../libs/service/compose-kafka.ts';
import { listenOf, readConfig } from '../../libs/service/config.ts';
import type { Log } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import { type RunningService, startService } from '../../libs/service/run-service.ts';
import { DELTA_CALCULATOR } from './config.ts';
import { DeltaCalculatorModule } from './delta-calculator.module.ts';

/** Reads the registry as of each backup's base; keeps nothing. */
export async function startDeltaCalculator(env: NodeJS.ProcessEnv, log: Log): Promise<RunningService> {
  const config = readConfig(DELTA_CALCULATOR, env);
  log.level = config.LOG_LEVEL;
  const metrics = new Metrics();
  const registry = await openPostgresRegistry({ connection: config.TIDEMARK_REGISTRY_URL });
  const transport = openKafka(config, { name: 'delta-calculator', registry, metrics, log });
  const changeEvents = new ChangeEvents(registry, async (messages) => {
    await transport.publish('delta-sets', messages);
    for (const { type, header } of messages)
      log[type === 'seal' ? 'info' : 'debug'](
        { backup: header.backupId, shard: header.shard, batch: header.batchNo },
        `${type} is out`,
      );
  });
  return startService({
    name: 'delta-calculator',
    modules: [DeltaCalculatorModule.of(changeEvents)],
    listen: listenOf(config.TIDEMARK_LISTEN),
    log,
    metrics,
    parts: {
      transport,
      dependencies: [
        { name: 'registry', check: async () => void (await registry.now()) },
        { name: 'kafka', check: () => transport.check(['change-events', 'delta-sets']) },
      ],
      close: () => registry.close(),
    },
  });
}
