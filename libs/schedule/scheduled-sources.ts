import type { PolicyRow, Registry, SourceRow } from '../registry/port.ts';
import type { BackupFact } from './due-slots.ts';
import { plan } from './planner.ts';
import { type NewestTimes, type Policy, type PolicyRequest, parsePolicy, settlePolicy } from './policy.ts';
import type { JobQueue } from './queue.ts';
import { agentOf, backupFacts } from './registry-facts.ts';
import type { ScheduledSource, SourcePolicy } from './schedule-api.ts';
import { type BackupFacts, jobsOf } from './scheduler.ts';

export const sourcePolicy = (
  { uid, agent, agentUid, root }: Pick<SourceRow, 'uid' | 'agent' | 'agentUid' | 'root'>,
  policy: Policy,
): SourcePolicy => ({ source: uid, agent, agentUid, root, policy });

/** The rows with their sources, in the same order. Throws TM1812 for one that can't be read, as of a newer version. */
export async function sourcePolicies(
  { catalogue }: Registry,
  rows: readonly PolicyRow[],
): Promise<SourcePolicy[]> {
  const sources = await catalogue.sourcesByIds(rows.map(({ sourceId }) => sourceId));
  return rows.flatMap(({ sourceId, policy }) => {
    const source = sources.get(sourceId);
    return source ? [sourcePolicy(source, parsePolicy(policy))] : [];
  });
}

/**
 * A page of the sources that have a policy or get `byDefault`, as those of enrolled agents do, in the order in which they
 * were made; `lastId` is undefined on the last page.
 */
export async function plannedPage(
  registry: Registry,
  page: { readonly afterId: number; readonly limit: number },
  byDefault: Policy | undefined,
): Promise<{ policies: SourcePolicy[]; lastId: number | undefined }> {
  const rows = await registry.policies.list(page);
  const endOf = (ids: readonly number[]) => (ids.length < page.limit ? undefined : ids.at(-1));
  if (!byDefault) {
    const policies = await sourcePolicies(registry, rows);
    return { policies, lastId: endOf(rows.map(({ sourceId }) => sourceId)) };
  }
  const sources = await registry.catalogue.sources(page);
  const own = new Map(rows.map(({ sourceId, policy }) => [sourceId, policy]));
  return {
    policies: sources.flatMap((one) => policyOf(one, own.get(one.id), byDefault) ?? []),
    lastId: endOf(sources.map(({ id }) => id)),
  };
}

/** Its own one, else the default for sources of enrolled agents. Throws TM1812 for one that can't be read. */
export function policyOf(
  source: SourceRow,
  own: unknown,
  byDefault: Policy | undefined,
): SourcePolicy | undefined {
  if (own !== undefined) return sourcePolicy(source, parsePolicy(own));
  if (!byDefault || source.agentUid === undefined) return undefined;
  return { ...sourcePolicy(source, byDefault), byDefault: true };
}

/** What a request makes of the source's policy before: `choose` of libs/cell/decide-policy.ts. */
export const settling =
  (registry: Registry, { uid }: SourceRow, request: PolicyRequest) =>
  async (before: unknown): Promise<Policy> => {
    const now = await registry.now();
    const newest = newestTimes(await registry.backups.newest(now, [uid]));
    return settlePolicy(request, before === undefined ? undefined : parsePolicy(before), newest, now);
  };

/** What is due for the sources when, in the same order. A few queries for all; no job is decided on meanwhile. */
export async function scheduledSources(
  registry: Registry,
  queue: Pick<JobQueue, 'deciding'>,
  policies: readonly SourcePolicy[],
): Promise<ScheduledSource[]> {
  const now = await registry.now();
  const planned = policies.map((one) => ({ ...one, agent: agentOf(one) }));
  const facts = await backupFacts(registry, now, planned);
  const factsOf = ({ source }: { readonly source: string }): BackupFacts => facts.get(source)!;
  const jobs = await queue.deciding((desk) => jobsOf(now, planned, factsOf, desk));
  return policies.map((one, i) => {
    const own = jobs.get(one.source) ?? [];
    const { offer, next } = plan(now, planned[i]!, { ...factsOf(one), jobs: own });
    const newest = newestTimes(factsOf(one).backups);
    return {
      ...one,
      next: offer ? { at: new Date(offer.dueAt), kind: offer.kind } : next,
      lastFull: newest.full,
      lastBackup: newest.any,
      jobs: own.filter(({ state }) => state === 'waiting' || state === 'running'),
    };
  });
}

function newestTimes(backups: readonly BackupFact[]): NewestTimes {
  const latest = (own: readonly BackupFact[]) =>
    own.length > 0 ? own.reduce((a, b) => (a.seq > b.seq ? a : b)).openedAt : undefined;
  return { full: latest(backups.filter(({ kind }) => kind === 'full')), any: latest(backups) };
}
