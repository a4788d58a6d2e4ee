import type { BackupView } from '../contracts/api/control-views.ts';
import type { BackupInfo } from '../model/backup.ts';

const dateOf = (text: string | null): Date | undefined => (text === null ? undefined : new Date(text));

/** A backup as the control plane tells of it. `sourceId`: the number by which messages name its source. */
export function backupOfView(view: BackupView, sourceId: number): BackupInfo {
  const { source: _, ...rest } = view;
  return {
    ...rest,
    sourceId,
    openedAt: new Date(view.openedAt),
    committedAt: dateOf(view.committedAt),
    readFrom: dateOf(view.readFrom),
    readTo: dateOf(view.readTo),
    stateDigest: view.stateDigest === null ? undefined : Buffer.from(view.stateDigest, 'base64'),
    counts: view.counts ?? undefined,
    gaps: view.gaps ?? undefined,
    failure: view.failure ?? undefined,
  };
}
