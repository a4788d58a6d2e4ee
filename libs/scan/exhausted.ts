import { TmError } from '../model/errors.ts';
import { EMFILE, ENFILE, ENOMEM, errnoName } from '../posix/index.ts';

/** Without descriptors or memory every directory looks unreadable: that is no fact about the source. */
export function throwIfExhausted(error: number): void {
  if (error === -EMFILE || error === -ENFILE || error === -ENOMEM)
    throw new TmError('TM1011', errnoName(error));
}
