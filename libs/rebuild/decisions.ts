import type { JournalObject, JournalRecord } from '../store/journal.ts';
import { listWriters } from '../store/journal.ts';
import type { JournalGap } from '../store/journal-gap.ts';
import { journalName } from '../store/journal-name.ts';
import { NO_CHAIN } from '../store/journal-object.ts';
import { isDisowned, type Owner } from '../store/owner.ts';
import type { Store } from '../store/port.ts';
import { salvageJournal } from '../store/salvage-journal.ts';

/** One record of the journal with what is needed to apply it when its object is gone from memory. */
export interface Decision {
  readonly object: Pick<JournalObject, 'name' | 'writer' | 'number' | 'ownerGeneration' | 'time'>;
  readonly record: JournalRecord;
  /** The frame that holds the record's secret fields; a copy. */
  readonly sealed: Buffer | undefined;
}

/** How far a writer's chain was read. */
export interface ChainEnd {
  /** The highest number that is taken, by an object or by one that is lost. */
  readonly number: number;
  /** The newest whole object, and its chain digest; 0 and zeros: none. */
  readonly whole: number;
  readonly chain: Buffer;
}

/** A gap that was found, and what is wrong with the first object of it. */
export interface FoundGap extends JournalGap {
  readonly problem: string;
}

export interface Journal {
  /** Of all owners; `ownDecisions` tells which count. */
  readonly decisions: Decision[];
  readonly ends: Map<string, ChainEnd>;
  readonly gaps: FoundGap[];
  /** What is wrong with damaged objects, by name. */
  readonly problems: Map<string, string>;
}

/** The object's decisions; none when its writer had lost the store. */
export const decisionsOf = (object: JournalObject, owners: readonly Owner[]): Decision[] =>
  isDisowned(object, owners) ? [] : allDecisions(object);

/** Those of writers that had not lost the store. */
export const ownDecisions = ({ decisions }: Journal, owners: readonly Owner[]): Decision[] =>
  decisions.filter(({ object }) => !isDisowned(object, owners));

function allDecisions(object: JournalObject): Decision[] {
  const { name, writer, number, ownerGeneration, time, sections } = object;
  return object.records.map((record) => {
    const section = 'sealed' in record && record.sealed !== undefined ? sections[record.sealed] : undefined;
    return {
      object: { name, writer, number, ownerGeneration, time },
      record,
      sealed: section && Buffer.from(section),
    };
  });
}

export const emptyJournal = (): Journal => ({
  decisions: [],
  ends: new Map(),
  gaps: [],
  problems: new Map(),
});

const NO_END: ChainEnd = { number: 0, whole: 0, chain: NO_CHAIN };

/**
 * Reads on in every writer's chain from where `journal` ends; a gap is noted, and what follows it read. `known`: numbers
 * that somebody has seen taken, by writer; where a chain ends before, its end is lost.
 */
export async function readDecisions(
  store: Store,
  journal: Journal,
  known: ReadonlyMap<string, number>,
): Promise<void> {
  for (const writer of new Set([...(await listWriters(store)), ...known.keys()])) {
    let end = journal.ends.get(writer) ?? NO_END;
    for await (const { number, ...found } of salvageJournal(store, writer, end.number)) {
      if (found.object) end = follow(journal, end, found.object);
      else {
        journal.problems.set(journalName(writer, number), found.problem);
        end = { ...end, number };
      }
    }
    journal.ends.set(writer, { ...end, number: Math.max(end.number, known.get(writer) ?? 0) });
  }
}

/** The chain's end after a whole object, which should follow `end`. */
function follow(journal: Journal, end: ChainEnd, object: JournalObject): ChainEnd {
  const { writer, number, previous, chain } = object;
  if (number !== end.whole + 1 || !previous.equals(end.chain))
    journal.gaps.push(foundGap(journal, { writer, after: end.whole, before: number }));
  journal.decisions.push(...allDecisions(object));
  return { number, whole: number, chain };
}

/** Gaps, those at the ends of chains too. */
export const allGaps = (journal: Journal): FoundGap[] => [
  ...journal.gaps,
  ...[...journal.ends]
    .filter(([, { number, whole }]) => whole < number)
    .map(([writer, { number, whole }]) => foundGap(journal, { writer, after: whole, before: number + 1 })),
];

function foundGap({ problems }: Journal, gap: JournalGap): FoundGap {
  const { writer, after, before } = gap;
  const first = journalName(writer, after + 1);
  const others = before - after - 2;
  const problem =
    others < 0
      ? `${first} does not follow the object before it`
      : (problems.get(first) ?? `${first} is missing`);
  return { ...gap, problem: others > 0 ? `${problem}, and ${others} after it` : problem };
}

/**
 * The order in which decisions of several writers were made: by owner generation, then by time, where a clock that was
 * set back never turns a writer's own order round. `decisions` have each writer's in its order.
 */
export function inOrder(decisions: readonly Decision[]): Decision[] {
  const latest = new Map<string, number>();
  const timed = decisions.map((decision) => {
    const { writer, time, ownerGeneration } = decision.object;
    const at = Math.max(latest.get(writer) ?? 0, time.getTime());
    latest.set(writer, at);
    return { decision, at, ownerGeneration };
  });
  timed.sort((a, b) => a.ownerGeneration - b.ownerGeneration || a.at - b.at);
  return timed.map(({ decision }) => decision);
}
