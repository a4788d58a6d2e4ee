import { TmError } from '../model/errors.ts';
import { journalName, parseJournalName, writerPrefix } from './journal-name.ts';
import type { JournalObject } from './journal-object.ts';
import { readJournalObject } from './journal-reader.ts';
import type { Store } from './port.ts';

/** An object of a chain: whole by its own digest, whatever it follows; or what is wrong with it. */
export type Salvaged =
  | { readonly number: number; readonly object: JournalObject }
  | { readonly number: number; readonly object: undefined; readonly problem: string };

/**
 * A writer's objects after `number`, ascending; damaged ones too, and without a word where one is missing. Throws what is
 * no damage, and TM1209: what a newer version wrote must not be passed over.
 */
export async function* salvageJournal(
  store: Store,
  writer: string,
  number: number,
): AsyncGenerator<Salvaged> {
  for await (const { name } of store.list(
    writerPrefix(writer),
    number > 0 ? journalName(writer, number) : '',
  )) {
    const found = parseJournalName(name)?.number;
    if (found !== undefined) yield await salvage(store, writer, found);
  }
}

async function salvage(store: Store, writer: string, number: number): Promise<Salvaged> {
  try {
    return { number, object: await readJournalObject(store, writer, number) };
  } catch (error) {
    if (!(error instanceof TmError && ['TM1205', 'TM1206', 'TM1212'].includes(error.code))) throw error;
    return { number, object: undefined, problem: error.message };
  }
}
