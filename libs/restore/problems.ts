import { TmError } from '../model/errors.ts';
import { EDQUOT, ENOSPC, EROFS, PosixError } from '../posix/index.ts';
import { isDamage } from './frame-reader.ts';
import type { Problem } from './protocol.ts';

/**
 * What is said of an entry that could not be restored. Throws what would be said of every other entry too: a full or
 * read-only target, an interrupt, a store or registry that can't be reached, and mistakes of this program.
 */
export function problemOf({ dir, name }: Pick<Problem, 'dir' | 'name'>, error: unknown): Problem {
  if (error instanceof PosixError) {
    if (error.errno === ENOSPC || error.errno === EDQUOT)
      throw new TmError('TM1606', error.message, { cause: error });
    if (error.errno === EROFS) throw new TmError('TM1603', error.message, { cause: error });
    return { code: 'TM1602', dir, name, message: error.message };
  }
  if (!(error instanceof TmError)) throw error;
  if (error.spec.exit !== 3 && !isDamage(error)) throw error;
  return { code: error.code, dir, name, message: error.message };
}
