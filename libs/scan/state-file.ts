import { existsSync, renameSync } from 'node:fs';
import { cutLog, logPath, sameIdentity } from './known/change-log.ts';
import { KnownState } from './known/known-state.ts';
import type { StateIdentity } from './state-format.ts';
import { StateReader } from './state-reader.ts';

/**
 * The state of a source as of its base, or undefined: then nothing is known. `<path>.new` is looked at as well, and
 * takes the place of `path`: its writer ended between the commit of its backup and its own. So does what `path` and
 * its log lead to, where backups were made without a walk.
 */
export function openState(path: string, base: StateIdentity): StateReader | undefined {
  const state = openIfEqual(path, base);
  if (state) {
    cutLog(path, 0);
    return state;
  }
  const unfinished = openIfEqual(`${path}.new`, base);
  if (unfinished) renameSync(`${path}.new`, path);
  return unfinished ?? openLogged(path, base, path);
}

/** As openState, but changes nothing; what has to be put together for it goes to the file `scratch`. */
export const peekState = (path: string, base: StateIdentity, scratch: string): StateReader | undefined =>
  openIfEqual(path, base) ?? openIfEqual(`${path}.new`, base) ?? openLogged(path, base, scratch);

function openIfEqual(path: string, base: StateIdentity): StateReader | undefined {
  const state = StateReader.open(path);
  if (!state) return undefined;
  if (sameIdentity(state.header, base)) return state;
  state.close();
  return undefined;
}

function openLogged(path: string, base: StateIdentity, to: string): StateReader | undefined {
  const known = existsSync(logPath(path)) ? KnownState.open(path, base) : undefined;
  if (!known) return undefined;
  try {
    known.writeTo(to);
  } finally {
    known.close();
  }
  if (to === path) cutLog(path, 0);
  return openIfEqual(to, base);
}
