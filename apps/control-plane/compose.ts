import { ControlPlane } from '../../libs/control/control-plane.ts';
import { startScheduler } from '../../libs/schedule/start-scheduler.ts';
import { cellDependencies, openServiceCell } from '../../libs/service/compose-cell.ts';
import { openKafka } from '../../libs/service/compose-kafka.ts';
import { listenOf, readConfig } from '../../libs/service/config.ts';
import type { Log } from '../../libs/service/log.ts';
import { Metrics } from '../../libs/service/metrics.ts';
import { type RunningService, startService } from '../../libs/service/run-service.ts';
import { CONTROL_PLANE } from './config.ts';
import { ControlPlaneModule } from './control-plane.module.ts';
import { watchMetrics } from './watch-metrics.ts';

/** Any number of them may run on one registry. */
export async function startControlPlane(env: NodeJS.ProcessEnv, log: Log): Promise<RunningService> {
  const config = readConfig(CONTROL_PLANE, env);
  log.level = config.LOG_LEVEL;
  const metrics = new Metrics();
  const cell = await openServiceCell(config, log);
  const { registry, store } = cell;
  const onError = (error: unknown) => log.warn({ err: error }, 'beside requests');
  const scheduler = await startScheduler({
    registry,
    onError,
    connection: config.TIDEMARK_REGISTRY_URL,
    defaultPolicy: config.TIDEMARK_DEFAULT_POLICY,
  });
  const control = new ControlPlane({
    cell,
    queue: scheduler.queue,
    recipients: config.TIDEMARK_RECIPIENTS,
    writers: config.TIDEMARK_WRITERS,
    adminToken: config.TIDEMARK_ADMIN_TOKEN,
    defaultPolicy: config.TIDEMARK_DEFAULT_POLICY,
    onSchedule: scheduler.notify,
    onError,
    leaseSeconds: config.TIDEMARK_LEASE,
    onWatches: watchMetrics(metrics),
    onReaped({ id, label }, code) {
      metrics.backups.inc({ state: 'failed', code });
      log.warn({ backup: id, label, code }, 'backup ended: nobody brings it on any more');
    },
  });
  const transport = openKafka(config, { name: 'control-plane', registry, metrics, log });
  return startService({
    name: 'control-plane',
    modules: [ControlPlaneModule.of(scheduler.notify)],
    listen: listenOf(config.TIDEMARK_LISTEN),
    log,
    metrics,
    parts: {
      transport,
      bindings: control.routes(),
      authenticator: control.authenticator,
      dependencies: [...cellDependencies(cell), { name: 'kafka', check: () => transport.check(['commits']) }],
      start: async () => control.start(),
      async endWaits() {
        await control.stop();
        await scheduler.stop();
      },
      async close() {
        await registry.close();
        await store.close();
      },
    },
  });
}
