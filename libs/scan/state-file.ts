import { renameSync } from 'node:fs';
import type { StateIdentity } from './state-format.ts';
import { StateReader } from './state-reader.ts';

/**
 * The state of a source as of its base, or undefined: then nothing is known. `<path>.new` is looked at as well, and
 * takes the place of `path`: its writer ended between the commit of its backup and its own.
 */
export function openState(path: string, base: StateIdentity): StateReader | undefined {
  const state = openIfEqual(path, base);
  if (state) return state;
  const unfinished = openIfEqual(`${path}.new`, base);
  if (unfinished) renameSync(`${path}.new`, path);
  return unfinished;
}

/** As openState, but changes nothing. */
export const peekState = (path: string, base: StateIdentity): StateReader | undefined =>
  openIfEqual(path, base) ?? openIfEqual(`${path}.new`, base);

function openIfEqual(path: string, base: StateIdentity): StateReader | undefined {
  const state = StateReader.open(path);
  if (!state) return undefined;
  const { sourceUid, seq, epoch, stateDigest } = state.header;
  const isEqual =
    sourceUid === base.sourceUid &&
    seq === base.seq &&
    epoch.generation === base.epoch.generation &&
    epoch.counter === base.epoch.counter &&
    stateDigest.equals(base.stateDigest);
  if (isEqual) return state;
  state.close();
  return undefined;
}
