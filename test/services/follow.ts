import { setTimeout as sleep } from 'node:timers/promises';
import { catalogueRoutes } from '../../libs/contracts/api/control.ts';
import type { BackupView } from '../../libs/contracts/api/control-views.ts';
import type { Stack } from './stack.ts';

const WITHIN_MS = 60_000;

/** The first committed backup that the stack has; throws with the services' logs when one fails or none comes. */
export async function committedBackup(stack: Stack): Promise<BackupView> {
  const admin = stack.admin();
  const end = performance.now() + WITHIN_MS;
  try {
    while (performance.now() < end) {
      const query = { limit: 100, all: 'true' as const };
      const { backups } = await admin.call(catalogueRoutes.listBackups, { query });
      const committed = backups.find(({ state }) => state === 'committed');
      if (committed) return committed;
      if (backups.some(({ state }) => state === 'failed')) break;
      await sleep(50);
    }
  } finally {
    admin.close();
  }
  throw new Error(`no backup was committed:\n${stack.troubles}`);
}
