import { isKnownGap } from '../store/journal-gap.ts';
import type { Claims, Owner } from '../store/owner.ts';
import { ownerName } from '../store/owner.ts';
import { allGaps, type FoundGap, type Journal } from './decisions.ts';
import type { RebuildFinding } from './finding.ts';
import { type Commit, labelOf, type SourceHistory, type StoreHistory } from './history.ts';

/** Claims of owners: those that can be read, and those that the journal repeats; oldest first. */
export function ownersOf({ owners }: Claims, { decisions }: Journal): Owner[] {
  const all = new Map(owners.map((owner) => [owner.generation, owner]));
  for (const { object, record } of decisions) {
    if (record.kind !== 'owner' || all.has(record.generation)) continue;
    const { kind: _, ...claim } = record;
    all.set(record.generation, { ...claim, time: object.time.toISOString() });
  }
  return [...all.values()].toSorted((a, b) => a.generation - b.generation);
}

/** Gaps that no owner has gone on after. */
export function newGaps(journal: Journal, owners: readonly Owner[]): FoundGap[] {
  const known = owners.flatMap(({ gaps = [] }) => gaps);
  return allGaps(journal).filter((gap) => !isKnownGap(known, gap));
}

/** The numbers that owners knew to be taken in each writer's chain. */
export function numbersTaken(owners: readonly Owner[]): Map<string, number> {
  const taken = new Map<string, number>();
  for (const { takenIn } of owners)
    for (const [writer, number] of Object.entries(takenIn))
      taken.set(writer, Math.max(number, taken.get(writer) ?? 0));
  return taken;
}

/** How many objects of the journal are lost: as many commits of a source at most. */
export const lostObjects = (journal: Journal): number =>
  allGaps(journal).reduce((sum, { after, before }) => sum + before - after - 1, 0);

/** What the store has lost of its journal, named: `gaps` and `claims` that are new, and what they took with them. */
export function planLosses(
  gaps: readonly FoundGap[],
  lostClaims: Claims['lost'],
  history: StoreHistory,
): RebuildFinding[] {
  const losses: RebuildFinding[] = [];
  for (const [generation, { code, message }] of lostClaims)
    losses.push({ code, object: ownerName(generation), message });
  for (const { problem } of gaps) losses.push(gapLoss(problem));
  if (gaps.length > 0) for (const source of history.sources) losses.push(...lostBackups(source));
  for (const [object, { code, message }] of history.unopened)
    losses.push({
      code,
      object,
      message: `${object} holds secret fields (tags, sources) that cannot be opened: ${message}`,
    });
  for (const [uid, commits] of history.sourceless) losses.push(...lostSource(uid, commits));
  return losses;
}

const gapLoss = (problem: string): RebuildFinding => ({
  code: 'TM1212',
  object: /journal\/\S+[0-9a-f]/.exec(problem)![0],
  message: `${problem}; what was decided there is lost: backups that it committed are gone unless they are named otherwise, backups that it expired come back (their data may be gone), and pins and tags are as they were before`,
});

/** Backups that a later one names and that no whole object commits. */
function lostBackups({ commits }: SourceHistory): RebuildFinding[] {
  const named = new Map<number, Commit>();
  for (const { commit } of commits.values())
    for (const seq of [commit.baseSeq, commit.baselineSeq])
      if (seq > 0 && !commits.has(seq) && !named.has(seq)) named.set(seq, commit);
  return [...named].map(([seq, by]) => ({
    code: 'TM1212',
    message: `backup ${seq} of the source of ${labelOf(by)}, on which that one was built, is lost with its journal object`,
  }));
}

const lostSource = (uid: string, commits: readonly Commit[]): RebuildFinding[] =>
  commits.map((commit) => ({
    code: 'TM1212',
    label: labelOf(commit),
    message: `backup ${labelOf(commit)} cannot be rebuilt: the record of its source ${uid} cannot be read, and no full backup that can be repeats it`,
  }));
