import { TmError } from '../model/errors.ts';

/** What is wrong with the store, not with reaching it or the registry. */
export const isDamage = (error: unknown): error is TmError =>
  error instanceof TmError &&
  ['TM1205', 'TM1206', 'TM1212', 'TM1404', 'TM1503', 'TM1601', 'TM1605'].includes(error.code);
