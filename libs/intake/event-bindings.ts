import { eventRoutes } from '../contracts/api/events.ts';
import { decodePosted } from '../contracts/wire/posted.ts';
import { type Binding, bind } from '../http/binding.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import { judge } from '../transport/admission.ts';
import type { Transport } from '../transport/port.ts';
import { type BackupOf, writableBackup } from './access.ts';

/** Messages that are held at once, of a MiB each at most. */
const AT_ONCE = 32;

export interface EventDeps {
  readonly registry: Pick<Registry, 'backups'>;
  readonly transport: Pick<Transport, 'publish'>;
  readonly backupOf: BackupOf;
}

/** Takes change events over HTTP; what is checked of them is what a consumer of the topic checks. */
export function eventBindings({ registry, transport, backupOf }: EventDeps): Binding[] {
  const post = async (id: string, bytes: Buffer): Promise<void> => {
    const record = decodePosted(bytes);
    if (record.headers.backup !== id) throw new TmError('TM1510', id);
    const known = (await registry.backups.admissions([id])).get(id);
    const admitted = known?.macKey && { ...known, macKey: known.macKey };
    const verdict = judge('change-events', record, admitted);
    if (verdict.kind === 'drop') throw new TmError(verdict.counter === 'stale' ? 'TM1502' : 'TM1507', id);
    if (verdict.kind !== 'take') throw verdict.error;
    await transport.publish('change-events', [verdict.message]);
  };
  return [
    bind(
      eventRoutes.postEvents,
      async ({ principal, params, body }) => {
        await writableBackup(principal, params.id, backupOf);
        await post(params.id, await body.bytes());
      },
      { concurrent: AT_ONCE },
    ),
  ];
}
