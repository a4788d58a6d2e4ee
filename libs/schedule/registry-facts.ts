import type { Registry, SourceRow } from '../registry/port.ts';
import type { PlannedSource } from './due-slots.ts';
import { type Policy, parsePolicy } from './policy.ts';
import type { BackupFacts } from './scheduler.ts';

/** Who gets a source's jobs: the enrolled agent, or the host of the embedded mode. */
export const agentOf = ({ agentUid, agent }: Pick<SourceRow, 'agentUid' | 'agent'>): string =>
  agentUid ?? agent;

/**
 * Sources that have a policy, or get `byDefault`: those of enrolled agents. One that can't be read, as of a newer version,
 * is told and keeps nobody else waiting.
 */
export async function plannedSources(
  registry: Registry,
  onUnreadable: (error: unknown) => void,
  byDefault?: Policy,
): Promise<PlannedSource[]> {
  const own = new Map((await registry.policies.list()).map(({ sourceId, policy }) => [sourceId, policy]));
  return (await registry.backups.sources()).flatMap((source) => {
    const kept = own.get(source.id) ?? (source.agentUid === undefined ? undefined : byDefault);
    if (kept === undefined) return [];
    try {
      return [{ source: source.uid, agent: agentOf(source), root: source.root, policy: parsePolicy(kept) }];
    } catch (error) {
      onUnreadable(error);
      return [];
    }
  });
}

/** Backups whose holder is gone don't keep a source busy: the next one to be opened ends them. */
export async function backupFacts(
  { backups }: Registry,
  now: Date,
  sources: readonly PlannedSource[],
): Promise<Map<string, BackupFacts>> {
  const uids = sources.map(({ source }) => source);
  const active = await backups.active();
  const gone = new Set(active.length > 0 ? (await backups.abandoned()).map(({ id }) => id) : []);
  const held = new Set(active.filter(({ id }) => !gone.has(id)).map(({ sourceId }) => sourceId));
  const uidOf = new Map(held.size > 0 ? (await backups.sources()).map(({ id, uid }) => [id, uid]) : []);
  const busy = new Set([...held].map((id) => uidOf.get(id)));
  const newest = Map.groupBy(await backups.newest(now, uids), ({ sourceUid }) => sourceUid);
  return new Map(uids.map((uid) => [uid, { backups: newest.get(uid) ?? [], isBusy: busy.has(uid) }]));
}
