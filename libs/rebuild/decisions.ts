import type { JournalObject, JournalRecord } from '../store/journal.ts';
import { listWriters, readJournal } from '../store/journal.ts';
import { isDisowned, type Owner } from '../store/owner.ts';
import type { Store } from '../store/port.ts';

/** One record of the journal with what is needed to apply it when its object is gone from memory. */
export interface Decision {
  readonly object: Pick<JournalObject, 'name' | 'writer' | 'number' | 'ownerGeneration' | 'time'>;
  readonly record: JournalRecord;
  /** The frame that holds the record's secret fields; a copy. */
  readonly sealed: Buffer | undefined;
}

/** How far a writer's chain was read. */
export interface ChainEnd {
  readonly number: number;
  readonly chain: Buffer;
}

export interface Journal {
  readonly decisions: Decision[];
  readonly ends: Map<string, ChainEnd>;
}

/** The object's decisions; none when its writer had lost the store. */
export function decisionsOf(object: JournalObject, owners: readonly Owner[]): Decision[] {
  if (isDisowned(object, owners)) return [];
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

/** Reads every writer's chain from where `journal` ends, checked link by link. Throws TM1212 naming what is broken. */
export async function readDecisions(
  store: Store,
  owners: readonly Owner[],
  journal: Journal = { decisions: [], ends: new Map() },
): Promise<Journal> {
  for (const writer of await listWriters(store)) {
    for await (const object of readJournal(store, writer, journal.ends.get(writer))) {
      journal.decisions.push(...decisionsOf(object, owners));
      journal.ends.set(writer, { number: object.number, chain: object.chain });
    }
  }
  return journal;
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
