import { fixedSources } from '../registry/fixed-sources.ts';
import type { Registry } from '../registry/port.ts';
import type { BackupOf } from './access.ts';

/** Backups as the registry has them. */
export function registryBackups(registry: Pick<Registry, 'backups' | 'catalogue'>): BackupOf {
  const sourceOf = fixedSources(registry);
  return async (id) => {
    const backup = await registry.backups.get(id);
    if (!backup) return undefined;
    const { sourceId, seq, state } = backup;
    const { domain, agentUid } = await sourceOf(sourceId);
    return { id, sourceId, seq, state, domain, agentUid };
  };
}
