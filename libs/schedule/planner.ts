import { type BackupFact, dueSlots, type PlannedSource, type Slot, type Upcoming } from './due-slots.ts';
import { backoffOf, type DueJob, type JobInfo, jobId, MAX_ATTEMPTS } from './job.ts';
import { openingOf } from './time-window.ts';

export interface SourceFacts {
  readonly backups: readonly BackupFact[];
  /** Somebody is making a backup of it, by a job or not. */
  readonly isBusy: boolean;
  /** Those that have not ended, and at least all of the slots that `dueSlots` names. */
  readonly jobs: readonly JobInfo[];
}

export interface Plan {
  readonly offer: DueJob | undefined;
  /** Waiting, and superseded. */
  readonly withdraw: readonly JobInfo[];
  /** When something will be due, or be tried again, if nothing happens meanwhile. */
  readonly next: Upcoming | undefined;
}

/**
 * What is due for a source at `now`. Pure: the same question has the same answer, the job's id included, so that it may
 * be asked again after any crash and by anybody.
 */
export function plan(now: Date, planned: PlannedSource, facts: SourceFacts): Plan {
  const { policy } = planned;
  const waiting = facts.jobs.filter(({ state, reason }) => state === 'waiting' && reason !== 'manual');
  if (policy.paused) return { offer: undefined, withdraw: waiting, next: undefined };
  const { slots, next } = dueSlots(now, planned, facts.backups);
  const attempts = slots.flatMap((slot) => nextAttempt(now, slot, facts.jobs) ?? []);
  const opening = policy.window ? openingOf(policy.window, now) : now;
  const ready = attempts.find(({ at }) => at <= now);
  const isFree = !facts.isBusy && facts.jobs.every(isEndedOr(waiting));
  const isBetter = waiting.length === 0 || supersedes(ready?.slot, waiting);
  if (ready && isFree && isBetter && opening <= now)
    return { offer: jobOf(planned, ready), withdraw: waiting, next: undefined };
  const later = attempts.filter(({ at }) => at > now);
  const pending = ready ? [{ slot: ready.slot, at: opening }] : later;
  return { offer: undefined, withdraw: [], next: earliest(pending, next) };
}

interface Attempt {
  readonly slot: Slot;
  readonly number: number;
  readonly at: Date;
}

/** The slot's attempt that comes next; undefined once it is fulfilled, under way, or was given up. */
function nextAttempt(now: Date, slot: Slot, jobs: readonly JobInfo[]): Attempt | undefined {
  const made = jobs.filter((job) => job.slot === slot.id);
  const last = made.reduce<JobInfo | undefined>((a, b) => (a && a.attempt > b.attempt ? a : b), undefined);
  if (!last) return { slot, number: 1, at: slot.dueAt };
  if (last.state !== 'failed' || last.attempt >= MAX_ATTEMPTS) return undefined;
  const backoff = backoffOf(last.attempt);
  const ended = (last.endedAt ?? last.offeredAt).getTime();
  const isFromTheFuture = ended > now.getTime() + backoff; // the clock was set back: nobody knows how long ago it was
  return { slot, number: last.attempt + 1, at: isFromTheFuture ? now : new Date(ended + backoff) };
}

const isEndedOr =
  (waiting: readonly JobInfo[]) =>
  (job: JobInfo): boolean =>
    job.state === 'done' || job.state === 'failed' || waiting.includes(job);

/** A full takes the place of a differential that nobody has begun. */
const supersedes = (slot: Slot | undefined, waiting: readonly JobInfo[]): boolean =>
  slot?.kind === 'full' && waiting.every(({ kind }) => kind === 'differential');

const jobOf = ({ source, agent, root, policy }: PlannedSource, { slot, number }: Attempt): DueJob => ({
  id: jobId(slot.id, number),
  source,
  agent,
  root: root.toString('base64'),
  kind: slot.kind,
  reason: slot.reason,
  slot: slot.id,
  dueAt: slot.dueAt.toISOString(),
  attempt: number,
  excludes: policy.excludes ?? [],
  tags: policy.tags ?? {},
});

function earliest(
  pending: readonly { readonly slot: Slot; readonly at: Date }[],
  next: Upcoming | undefined,
): Upcoming | undefined {
  const all = [...pending.map(({ slot, at }) => ({ at, kind: slot.kind })), ...(next ? [next] : [])];
  return all.toSorted((a, b) => a.at.getTime() - b.at.getTime())[0];
}
