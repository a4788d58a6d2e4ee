import { TmError } from '../model/errors.ts';
import type { JournalGap } from './journal-gap.ts';
import { journalName, parseJournalName, writerPrefix } from './journal-name.ts';
import { type ChainHead, NO_CHAIN } from './journal-object.ts';
import { headProblem, readJournalObject } from './journal-reader.ts';
import type { Store } from './port.ts';

export interface ChainFinding {
  /** Name of the object; of a gap's first one. */
  readonly object: string;
  readonly problem: string;
  /** Where the chain is broken by it; an owner may know of that (owner.ts). */
  readonly gap?: JournalGap;
}

/**
 * Reads a writer's whole journal and says all that is wrong with it. A chain that was cut at its end looks whole:
 * `head`, what the registry has taken in, finds that. Other errors than those of damage are thrown.
 */
export async function verifyChain(store: Store, writer: string, head?: ChainHead): Promise<ChainFinding[]> {
  const findings: ChainFinding[] = [];
  let number = 0;
  let previous: Buffer | undefined = NO_CHAIN;
  for await (const { name } of store.list(writerPrefix(writer))) {
    const found = parseJournalName(name)?.number;
    if (found === undefined) {
      findings.push({ object: name, problem: 'is no name of a journal object' });
      continue;
    }
    if (found > number + 1) {
      findings.push(missing(writer, number + 1, found - 1));
      previous = undefined;
    }
    number = found;
    const link: { chain?: Buffer; problem?: string } = await readLink(store, writer, number, previous);
    if (link.problem !== undefined) {
      const before = link.chain ? number : number + 1;
      findings.push({ object: name, problem: link.problem, gap: { writer, after: number - 1, before } });
    }
    previous = link.chain;
  }
  if (head !== undefined) {
    const problem = await headProblem(store, writer, head);
    if (problem !== undefined) findings.push({ object: journalName(writer, head.number), problem });
  }
  return findings;
}

function missing(writer: string, first: number, last: number): ChainFinding {
  const more = last - first;
  return {
    object: journalName(writer, first),
    problem: more === 0 ? 'is missing' : `is missing, and ${more} after it`,
    gap: { writer, after: first - 1, before: last + 1 },
  };
}

/** `chain` is what the next object must follow; none after a damaged one. A whole object of another chain has both. */
async function readLink(
  store: Store,
  writer: string,
  number: number,
  previous: Buffer | undefined,
): Promise<{ chain?: Buffer; problem?: string }> {
  try {
    const { previous: stated, chain } = await readJournalObject(store, writer, number);
    if (previous === undefined || stated.equals(previous)) return { chain };
    return { chain, problem: 'does not follow the object before it' };
  } catch (error) {
    if (!(error instanceof TmError) || error.spec.retry) throw error;
    return { problem: error.message };
  }
}
