import { createHash } from 'node:crypto';
import type { BackupKind } from '../model/label.ts';
import type { JobReason } from './job.ts';
import type { Policy, Schedule } from './policy.ts';
import { parseSpan, slotsOf } from './slots.ts';

export interface PlannedSource {
  /** Its uid. */
  readonly source: string;
  readonly agent: string;
  readonly root: Buffer;
  readonly policy: Policy;
}

/** A committed backup, expired ones included. */
export interface BackupFact {
  readonly seq: number;
  readonly kind: BackupKind;
  /** By the registry's clock. */
  readonly openedAt: Date;
  readonly committedAt: Date;
}

/** Something to be backed up from `dueAt` on that no backup has fulfilled yet. */
export interface Slot {
  readonly id: string;
  readonly kind: BackupKind;
  readonly reason: JobReason;
  readonly dueAt: Date;
}

/** Unfulfilled slots, and the first moment at which there may be another. */
export interface DueSlots {
  /** Most urgent first: of a full and a differential the full. */
  readonly slots: readonly Slot[];
  readonly next: Upcoming | undefined;
}

export interface Upcoming {
  readonly at: Date;
  readonly kind: BackupKind;
}

/**
 * What no backup of the source has fulfilled at `now`: of missed moments the newest only. `backups` are at least the
 * newest by seq, and of each kind the last that was opened by `now`, and the first that was opened after.
 */
export function dueSlots(now: Date, planned: PlannedSource, backups: readonly BackupFact[]): DueSlots {
  const { policy } = planned;
  const hasFull = backups.some(({ kind }) => kind === 'full');
  const fulls = policy.full && latestOf(now, planned, 'full', policy.full);
  const differentials = policy.differential && latestOf(now, planned, 'differential', policy.differential);
  const slots: (Slot | undefined)[] = hasFull
    ? [
        unfulfilled(
          now,
          fulls,
          backups.filter(({ kind }) => kind === 'full'),
        ),
        policy.differentialAfterFull ? afterFull(planned, backups) : undefined,
        unfulfilled(now, differentials, backups),
      ]
    : [firstFull(planned, [fulls?.slot, differentials?.slot])];
  return {
    slots: slots.filter((slot) => slot !== undefined),
    next: earlier(fulls?.next, differentials?.next),
  };
}

/** Of one moment for both it is the full's. */
function earlier(full: Date | undefined, differential: Date | undefined): Upcoming | undefined {
  if (full && !(differential && differential < full)) return { at: full, kind: 'full' };
  return differential && { at: differential, kind: 'differential' };
}

/** A schedule's newest moment, and the one after it. */
interface Latest {
  readonly slot: Slot | undefined;
  readonly next: Date | undefined;
}

function latestOf(
  now: Date,
  { source, policy }: PlannedSource,
  kind: BackupKind,
  schedule: Schedule,
): Latest {
  const delay = jitterOf(source, kind, policy.jitter);
  const from = new Date(schedule.from);
  const slots = slotsOf(schedule);
  const earlier = new Date(now.getTime() - delay);
  const latest = slots.latest(earlier) ?? ('every' in schedule && from <= now ? from : undefined);
  // Where an interval begins there may be a backup already: that moment is not moved.
  const moved = (slot: Date) => (slot.getTime() === from.getTime() ? slot : new Date(slot.getTime() + delay));
  const dueAt = latest && moved(latest);
  const next = slots.next(latest ?? earlier);
  const slot = dueAt && ({ id: slotId(source, kind, dueAt), kind, reason: 'schedule', dueAt } as const);
  return { slot, next: next && moved(next) };
}

const slotId = (source: string, kind: BackupKind, dueAt: Date): string =>
  `${source} ${kind} ${dueAt.toISOString()}`;

/** The same for each moment of a source's schedule, so that they keep their distance. */
function jitterOf(source: string, kind: BackupKind, jitter: string | undefined): number {
  if (jitter === undefined) return 0;
  const hash = createHash('sha256').update(`${source}\0${kind}`).digest().readUInt32BE();
  return Math.floor((hash / 2 ** 32) * parseSpan(jitter)!);
}

/** Fulfilled by a backup since its moment. One that seems to come from the future counts if the clock may have been set back by less than a period. */
function unfulfilled(
  now: Date,
  latest: Latest | undefined,
  backups: readonly BackupFact[],
): Slot | undefined {
  const { slot, next } = latest ?? {};
  if (!slot) return undefined;
  const period = (next ?? now).getTime() - slot.dueAt.getTime();
  const until = now.getTime() + Math.max(0, period);
  const isFulfilled = backups.some(({ openedAt }) => openedAt >= slot.dueAt && openedAt.getTime() <= until);
  return isFulfilled ? undefined : slot;
}

/** By seq, which no clock moves: there is no backup after the newest full. */
function afterFull({ source }: PlannedSource, backups: readonly BackupFact[]): Slot | undefined {
  const newest = backups.reduce((a, b) => (a.seq > b.seq ? a : b));
  if (newest.kind !== 'full') return undefined;
  const id = `${source} differential after ${newest.seq}`;
  return { id, kind: 'differential', reason: 'after-full', dueAt: newest.committedAt };
}

/** At once; when that was given up, at every moment at which anything would have been due. */
function firstFull({ source, policy }: PlannedSource, slots: readonly (Slot | undefined)[]): Slot {
  const times = slots.flatMap((slot) => slot?.dueAt.getTime() ?? []);
  const dueAt = times.length > 0 ? new Date(Math.max(...times)) : new Date(policy.since);
  return { id: slotId(source, 'full', dueAt), kind: 'full', reason: 'first', dueAt };
}
