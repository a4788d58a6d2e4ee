import { abortBackup } from '../commit/abort-backup.ts';
import { backupRoutes as routes } from '../contracts/api/control.ts';
import { bytesOfJson } from '../contracts/api/wire.ts';
import { type Binding, bind } from '../http/binding.ts';
import { TmError } from '../model/errors.ts';
import { pathToJson } from '../model/tree-path.ts';
import { type BackupWaits, hasEnded } from './backup-waits.ts';
import { decodeCursor, KeyCursor } from './cursor.ts';
import { heartbeat } from './end-backups.ts';
import { openBackup } from './open-backup.ts';
import { damagedPage } from './pages.ts';
import { agentOf, type ControlParts } from './parts.ts';
import { backupFor } from './scope.ts';
import { backupView } from './views.ts';

const DAMAGE_READS = 4;

/** The life of a backup, from its opening to its end. */
export function backupHandlers(parts: ControlParts, waits: BackupWaits): Binding[] {
  const { leaseSeconds } = parts;
  const { registry } = parts.cell;
  return [
    bind(routes.open, ({ principal, instance, body: { root, kind, tags } }) =>
      openBackup(parts, {
        agentUid: agentOf(principal),
        instance: instance!,
        root: bytesOfJson(root),
        kind,
        tags,
      }),
    ),
    bind(routes.heartbeat, async ({ principal, instance, params }) => {
      const { backup } = await backupFor(registry, principal, params.id);
      return { state: await heartbeat(registry, backup, instance, leaseSeconds), leaseSeconds };
    }),
    bind(routes.abort, async ({ principal, params, body }) => {
      const { backup, source } = await backupFor(registry, principal, params.id);
      await abortBackup(registry, backup, body.code);
      return { backup: backupView((await registry.backups.get(backup.id))!, source.uid) };
    }),
    bind(routes.getBackup, async ({ principal, params, query, signal }) => {
      const { backup, source } = await backupFor(registry, principal, params.id);
      if (query.wait === 0 || hasEnded(backup.state)) return { backup: backupView(backup, source.uid) };
      await waits.wait(backup.id, query.wait, signal);
      return { backup: backupView((await registry.backups.get(backup.id))!, source.uid) };
    }),
    bind(
      routes.damaged,
      async ({ principal, params, query: { after, limit } }) => {
        const { backup, source } = await backupFor(registry, principal, params.id);
        if (hasEnded(backup.state)) throw new TmError('TM1502', `${backup.label} is ${backup.state}`);
        if (backup.baseSeq === 0) return { paths: [], next: null };
        const cursor = decodeCursor(KeyCursor, after);
        const { rows, next } = await damagedPage(registry, source, backup.baseSeq, cursor, limit);
        return { paths: rows.map(pathToJson), next };
      },
      { concurrent: DAMAGE_READS },
    ),
  ];
}
