import { parseShortSpan } from '../model/short-span.ts';
import type { Registry, SourceRow } from '../registry/port.ts';
import { type Policy, parsePolicy } from './policy.ts';

/** What a policy says to who watches a source; milliseconds. */
export interface WatchPolicy {
  /** Between the beginnings of two micro-differentials. */
  readonly everyMs: number | undefined;
  /** Of the age of the oldest change that no backup has yet. */
  readonly recoveryLimitMs: number | undefined;
  /** Hold for micro-differentials as for any backup. */
  readonly excludes: readonly string[];
}

const spanOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : parseShortSpan(text);

const watchPolicy = (policy: Policy | undefined): WatchPolicy => ({
  everyMs: spanOf(policy?.watch?.every),
  recoveryLimitMs: spanOf(policy?.watch?.recoveryPoint),
  excludes: policy?.excludes ?? [],
});

/** By the source's own policy, else by the default one where there is one. Throws TM1812 for one that can't be read. */
export async function watchPolicyOf(
  { policies }: Pick<Registry, 'policies'>,
  source: Pick<SourceRow, 'id' | 'agentUid'>,
  byDefault?: Policy,
): Promise<WatchPolicy> {
  const own = await policies.get(source.id);
  if (own) return watchPolicy(parsePolicy(own.policy));
  return watchPolicy(source.agentUid === undefined ? undefined : byDefault);
}

/** How old the oldest change is that no backup has; 0 where there is none. Milliseconds. */
export interface RecoveryPointAge {
  readonly ageMs: number;
  /** Undefined: the policy has none. */
  readonly limitMs: number | undefined;
}

/**
 * Says by an event when the limit is passed, and when it holds again: once for each crossing, however often it is called.
 * Gives whether there was one now. Whoever calls it publishes (libs/cell/outbox.ts), unless services do.
 */
export async function tellRecoveryPoint(
  registry: Pick<Registry, 'watches' | 'now'>,
  sourceId: number,
  { ageMs, limitMs }: RecoveryPointAge,
): Promise<boolean> {
  const now = await registry.now();
  const isExceeded = limitMs !== undefined && ageMs >= limitMs;
  const data = {
    ageSeconds: Math.round(ageMs / 1000),
    limitSeconds: limitMs === undefined ? null : limitMs / 1000,
    oldestChange: ageMs > 0 ? new Date(now.getTime() - ageMs).toISOString() : null,
  };
  const type = isExceeded ? 'recovery-point.exceeded' : 'recovery-point.recovered';
  return registry.watches.setExceeded(sourceId, isExceeded, { type, data }, now);
}

/** So long after its last report nobody is heard of any more. */
const SILENCE_SECONDS = 90;

/**
 * For sources whose watch fell silent while a change waited: the age grows although nobody says so, until a backup that
 * was opened after that is committed, by whomever.
 */
export async function tellForSilent(
  registry: Registry,
  byDefault: Policy | undefined,
  onUnreadable: (error: unknown) => void,
): Promise<void> {
  await tellCaughtUp(registry);
  const silent = await registry.watches.silent(SILENCE_SECONDS);
  if (silent.length === 0) return;
  const sources = await registry.catalogue.sourcesByIds(silent.map(({ sourceId }) => sourceId));
  const now = await registry.now();
  for (const { sourceId, oldestChange } of silent) {
    const limitMs = await limitOf(registry, sources.get(sourceId)!, byDefault).catch(onUnreadable);
    const age = { ageMs: now.getTime() - oldestChange.getTime(), limitMs: limitMs ?? undefined };
    if (age.limitMs !== undefined) await tellRecoveryPoint(registry, sourceId, age);
  }
}

async function tellCaughtUp(registry: Pick<Registry, 'watches' | 'now'>): Promise<void> {
  const caughtUp = await registry.watches.caughtUp(SILENCE_SECONDS);
  if (caughtUp.length === 0) return;
  for (const sourceId of caughtUp)
    await tellRecoveryPoint(registry, sourceId, { ageMs: 0, limitMs: undefined });
  await registry.watches.forgetChanges(caughtUp, SILENCE_SECONDS);
}

const limitOf = async (...of: Parameters<typeof watchPolicyOf>): Promise<number | undefined> =>
  (await watchPolicyOf(...of)).recoveryLimitMs;
