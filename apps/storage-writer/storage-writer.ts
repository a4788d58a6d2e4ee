import type { Cell } from '../../libs/cell/cell.ts';
import { RegistryAuthenticator } from '../../libs/control/authenticator.ts';
import type { Binding } from '../../libs/http/binding.ts';
import { eventBindings } from '../../libs/intake/event-bindings.ts';
import { IntakeService } from '../../libs/intake/intake-service.ts';
import { ReadBack } from '../../libs/intake/read-back.ts';
import { registryBackups } from '../../libs/intake/registry-backups.ts';
import { writerBindings } from '../../libs/intake/writer-bindings.ts';
import { TmError } from '../../libs/model/errors.ts';
import { fixedSources } from '../../libs/registry/fixed-sources.ts';
import type { Log } from '../../libs/service/log.ts';
import type { Metrics } from '../../libs/service/metrics.ts';
import type { Transport } from '../../libs/transport/port.ts';
import { DeltaSets } from '../../libs/writer/delta-sets.ts';
import { OutboxLoop } from '../../libs/writer/outbox-loop.ts';

export interface StorageWriter {
  readonly deltaSets: DeltaSets;
  readonly bindings: readonly Binding[];
  readonly authenticator: RegistryAuthenticator;
  readonly outbox: OutboxLoop;
}

export interface StorageWriterOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  /** Bytes. */
  readonly uploadMemory?: number;
  readonly adminToken?: string | undefined;
}

/** The storage writer's core over a cell and a transport. */
export function makeStorageWriter(
  cell: Cell,
  transport: Transport,
  { log, metrics, uploadMemory, adminToken }: StorageWriterOptions,
): StorageWriter {
  const { registry, store } = cell;
  const backupOf = registryBackups(registry);
  const intake = new IntakeService({
    registry,
    store,
    backupOf,
    ...(uploadMemory !== undefined && { budgetBytes: uploadMemory }),
  });
  const deltaSets = new DeltaSets({
    cell,
    sourceOf: fixedSources(registry),
    domainOf: async (uid) => {
      const domain = await registry.domains.get(uid);
      if (!domain) throw new TmError('TM1303', `domain ${uid} is not in the registry`);
      return domain;
    },
    onEnded: (backup, outcome) => {
      const error = outcome.state === 'failed' ? outcome.error : undefined;
      metrics.backups.inc({ state: outcome.state, code: error?.code ?? '' });
      const fields = {
        backup: backup.id,
        label: backup.label,
        ...(error && { code: error.code, err: error }),
      };
      log[error ? 'error' : 'info'](fields, `backup ${outcome.state}`);
    },
  });
  return {
    deltaSets,
    bindings: [
      ...writerBindings(intake, new ReadBack({ registry, store, backupOf })),
      ...eventBindings({ registry, transport, backupOf }),
    ],
    authenticator: new RegistryAuthenticator(registry, { adminToken }),
    outbox: new OutboxLoop(registry.outbox, transport, (error) => log.warn({ err: error }, 'outbox')),
  };
}
