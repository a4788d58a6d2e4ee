import { TmError } from '../model/errors.ts';

export const JOURNAL_PREFIX = 'journal/';
/** Journal objects in a folder: the low 12 bits of their numbers. */
const FOLDER_SIZE = 4096;
const WRITER = /^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$/;
const NAME = /^journal\/([^/]+)\/([0-9a-f]{8})\/([0-9a-f]{16})$/;
/** Comes after every character of a name. */
const BEYOND = '~';

const isWriterId = (text: string): boolean => WRITER.test(text);

/** What the names of a writer's journal objects begin with. Throws TM1099 for what is no writer's id. */
export function writerPrefix(writer: string): string {
  if (!isWriterId(writer)) throw new TmError('TM1099', `${JSON.stringify(writer)} is no writer's id`);
  return `${JOURNAL_PREFIX}${writer}/`;
}

/** A name after all of the writer's, for listing what comes behind them. */
export const afterWriter = (writer: string): string => writerPrefix(writer) + BEYOND;

/** `journal/<writer>/<number >> 12, 8 hex>/<number, 16 hex>`: numbers from 1 to 2^44 - 1. */
export function journalName(writer: string, number: number): string {
  const folder = Math.floor(number / FOLDER_SIZE);
  if (!Number.isSafeInteger(number) || number < 0 || folder > 0xffff_ffff) {
    throw new TmError('TM1099', `${number} is no journal number`);
  }
  return `${writerPrefix(writer)}${folder.toString(16).padStart(8, '0')}/${number.toString(16).padStart(16, '0')}`;
}

/** Undefined for a name that no journal object has. */
export function parseJournalName(name: string): { writer: string; number: number } | undefined {
  const [, writer = '', , low = ''] = NAME.exec(name) ?? [];
  const number = Number.parseInt(low, 16);
  if (!isWriterId(writer) || !Number.isSafeInteger(number)) return undefined;
  return number > 0 && number < 2 ** 44 && journalName(writer, number) === name
    ? { writer, number }
    : undefined;
}
