import type { BackupInfo } from '../model/backup.ts';
import { BUCKETS, type Bucket, bucketsOf } from './buckets.ts';
import { before, type Duration } from './duration.ts';

/** What shall stay; rules are united. A rule that is absent keeps nothing by itself. */
export interface RetentionRules {
  /** The newest n backups. */
  readonly last?: number;
  /** Of each of the newest n hours, days … that have a backup: its newest backup. */
  readonly buckets: Readonly<Partial<Record<Bucket, number>>>;
  /** Backups that are at most so much older than the source's newest one, or than now where that one lies ahead. */
  readonly within?: { readonly text: string; readonly duration: Duration };
  /** Backups with any of these tags. */
  readonly tags: readonly (readonly [key: string, value: string])[];
}

/** One source: its committed backups by ascending seq, and what the source and backups under way need. */
export interface ExpiryInput {
  readonly backups: readonly BackupInfo[];
  readonly head: number;
  readonly baseline: number;
  /** Bases and baselines of backups under way, as seqs. */
  readonly needed: readonly number[];
  /** The registry's clock. */
  readonly now: Date;
}

export interface ExpiryDecision {
  readonly backup: BackupInfo;
  readonly action: 'keep' | 'expire';
  /** Why it stays; never empty. */
  readonly reasons: readonly string[];
}

/** The registry's commit time; every rule goes by it, and by seq where it is about order. */
const timeOf = (backup: BackupInfo): Date => backup.committedAt ?? backup.openedAt;

/**
 * Decides which backups of one source stay: what a rule keeps, what is pinned, the newest, the current baseline, what
 * a backup under way starts from, and the baseline of each differential that stays.
 */
export function planExpiry(input: ExpiryInput, rules: RetentionRules, timeZone: string): ExpiryDecision[] {
  const reasons = new Map<number, string[]>(input.backups.map(({ seq }) => [seq, []]));
  const keep = (seq: number, reason: string): void => {
    const own = reasons.get(seq);
    if (own && !own.includes(reason)) own.push(reason);
  };
  keepByRules(input, rules, timeZone, keep);
  for (const { seq, pinned } of input.backups) if (pinned) keep(seq, 'pinned');
  const newest = input.backups.at(-1);
  if (newest) keep(newest.seq, 'newest');
  keep(input.head, 'newest');
  keep(input.baseline, 'current baseline');
  for (const seq of input.needed) keep(seq, 'needed by a backup under way');
  for (const { seq, kind, baselineSeq } of input.backups)
    if (kind === 'differential' && reasons.get(seq)!.length > 0)
      keep(baselineSeq, 'baseline of a kept differential');
  return input.backups.map((backup) => {
    const own = reasons.get(backup.seq)!;
    return own.length > 0
      ? { backup, action: 'keep', reasons: own }
      : { backup, action: 'expire', reasons: ['no rule keeps it'] };
  });
}

function keepByRules(
  { backups, now }: ExpiryInput,
  { last = 0, buckets, within, tags }: RetentionRules,
  timeZone: string,
  keep: (seq: number, reason: string) => void,
): void {
  const newestFirst = backups.toReversed();
  for (const { seq } of newestFirst.slice(0, last)) keep(seq, 'last');
  for (const bucket of BUCKETS) keepByBucket(newestFirst, bucket, buckets[bucket] ?? 0, timeZone, keep);
  const newest = newestFirst[0];
  if (within && newest) {
    // A clock that ran ahead once must not make everything else too old.
    const from = before(timeOf(newest) < now ? timeOf(newest) : now, within.duration);
    for (const backup of newestFirst) if (timeOf(backup) >= from) keep(backup.seq, `within ${within.text}`);
  }
  for (const [key, value] of tags)
    for (const backup of newestFirst)
      if (Object.hasOwn(backup.tags, key) && backup.tags[key] === value)
        keep(backup.seq, `tag ${key}=${value}`);
}

function keepByBucket(
  newestFirst: readonly BackupInfo[],
  bucket: Bucket,
  count: number,
  timeZone: string,
  keep: (seq: number, reason: string) => void,
): void {
  if (count === 0) return;
  const seen = new Set<string>();
  const bucketOf = bucketsOf(timeZone);
  for (const backup of newestFirst) {
    const key = bucketOf(timeOf(backup))[bucket];
    if (seen.has(key)) continue;
    if (seen.size === count) return;
    seen.add(key);
    keep(backup.seq, bucket);
  }
}
