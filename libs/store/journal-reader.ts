import { TmError } from '../model/errors.ts';
import { afterWriter, JOURNAL_PREFIX, journalName, parseJournalName, writerPrefix } from './journal-name.ts';
import {
  CHAIN_BYTES,
  type ChainHead,
  decodeJournalObject,
  type JournalObject,
  NO_CHAIN,
} from './journal-object.ts';
import type { Store } from './port.ts';

/** Every writer that has journal objects, in order of ids; one short listing each. */
export async function listWriters(store: Store): Promise<string[]> {
  const writers: string[] = [];
  let after = '';
  while (true) {
    const name = await firstJournalName(store, after);
    if (name === undefined) return writers;
    writers.push(name.writer);
    after = afterWriter(name.writer);
  }
}

async function firstJournalName(store: Store, after: string): Promise<{ writer: string } | undefined> {
  for await (const { name } of store.list(JOURNAL_PREFIX, after)) {
    const parsed = parseJournalName(name);
    if (parsed !== undefined) return parsed;
  }
  return undefined;
}

/**
 * One object, found whole by its own digest, and by the one before it where `previous` is given.
 * Throws TM1205 where there is none, TM1212, TM1209.
 */
export async function readJournalObject(
  store: Store,
  writer: string,
  number: number,
  previous?: Buffer,
): Promise<JournalObject> {
  const bytes = await store.read(journalName(writer, number));
  return decodeJournalObject(bytes, { writer, number, previous });
}

/**
 * A writer's objects after `from` (undefined: all), in order and without a gap. Throws TM1212 naming the object that is
 * missing, altered or of another chain; also where `from` itself is not in the store as it was taken in.
 */
export async function* readJournal(
  store: Store,
  writer: string,
  from: ChainHead | undefined,
): AsyncGenerator<JournalObject> {
  if (from) await checkHead(store, writer, from);
  let { number, chain } = from ?? { number: 0, chain: NO_CHAIN };
  for await (const found of listJournal(store, writer, number)) {
    number++;
    if (found !== number) throw new TmError('TM1212', `${journalName(writer, number)} is missing`);
    const object = await readJournalObject(store, writer, number, chain);
    chain = object.chain;
    yield object;
  }
}

/** Whether a writer's chain goes on after `head`. Throws TM1212 where the chain does not hold it any more. */
export async function isBehind(store: Store, writer: string, head: ChainHead | undefined): Promise<boolean> {
  const following = hasObjectsAfter(store, writer, head?.number ?? 0); // asked for while the head is looked at
  following.catch(() => {});
  if (head) await checkHead(store, writer, head);
  return following;
}

async function hasObjectsAfter(store: Store, writer: string, number: number): Promise<boolean> {
  for await (const _ of listJournal(store, writer, number)) return true;
  return false;
}

async function checkHead(store: Store, writer: string, head: ChainHead): Promise<void> {
  const problem = await headProblem(store, writer, head);
  if (problem !== undefined) throw new TmError('TM1212', `${journalName(writer, head.number)} ${problem}`);
}

/** Numbers of the writer's objects after `number`, ascending; objects with other names are passed over. */
async function* listJournal(store: Store, writer: string, number: number): AsyncGenerator<number> {
  for await (const { name } of store.list(writerPrefix(writer), journalName(writer, number))) {
    const parsed = parseJournalName(name);
    if (parsed !== undefined) yield parsed.number;
  }
}

/** Says why an object is not the one with this chain digest; undefined when it is. Only its end is read. */
export async function headProblem(
  store: Store,
  writer: string,
  head: ChainHead,
): Promise<string | undefined> {
  const name = journalName(writer, head.number);
  const info = await store.stat(name);
  if (info === undefined) return 'is missing, but the registry has taken it in';
  const digest = await store.read(name, {
    offset: Math.max(0, info.size - CHAIN_BYTES),
    length: Math.min(info.size, CHAIN_BYTES),
  });
  return digest.equals(head.chain) ? undefined : 'is not the object that the registry has taken in';
}
