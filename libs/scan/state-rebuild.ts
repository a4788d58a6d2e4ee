import { decodeHints, decodeState } from '../model/entry.ts';
import type { TreePath } from '../model/tree-path.ts';
import { sketchStat } from './stat-record.ts';
import { openState } from './state-file.ts';
import { StateFlag, type StateIdentity } from './state-format.ts';
import type { StateReader } from './state-reader.ts';
import { StateWriter } from './state-writer.ts';

/** An entry as the registry holds it. */
export interface BaseEntry {
  readonly dir: TreePath;
  readonly name: Buffer;
  readonly hash: Buffer;
  /** Encoded (model/entry.ts). */
  readonly state: Buffer;
  readonly hints: Buffer;
}

/**
 * Makes the state file of a base anew from the registry, whose entries come in the order of (dir, name), the root
 * first. All of them will be read again, since nobody knows which timestamps were racy; that mount points were such
 * is lost, so that the next scan takes a directory for one that is empty by now and held entries of another device. Without this, a scan could not tell what is gone. Undefined when the hashes don't add up to the base's
 * state digest.
 */
export async function rebuildState(
  path: string,
  base: StateIdentity,
  entries: AsyncIterable<readonly BaseEntry[]>,
): Promise<StateReader | undefined> {
  const writer = new StateWriter(path, 0n);
  try {
    for await (const page of entries) {
      for (const { dir, name, hash, state, hints } of page) {
        writer.enter(dir);
        writer.append(
          name,
          sketchStat(decodeState(state), decodeHints(hints).dev),
          0,
          StateFlag.untrusted,
          hash,
        );
      }
    }
    writer.finish(base);
    writer.commit();
  } catch (error) {
    writer.abandon();
    throw error;
  }
  return openState(path, base);
}
