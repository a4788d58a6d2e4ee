import type { TreePath } from '../model/tree-path.ts';

/**
 * A position in the entries of a known state, in the order of (dir, name). What the properties show is valid until
 * it moves.
 */
export interface StateCursor {
  /** Made anew from the registry, which does not know racy times and mount points. */
  readonly isRebuilt: boolean;
  /** No entry is left. */
  readonly done: boolean;
  /** Directory of the present entry. */
  readonly dir: TreePath;
  /** Changes with `dir`; 0 at the end. */
  readonly dirSerial: number;
  /** What `statAt` and `resultAt` are words of. */
  readonly words: Int32Array;
  /** Word of the present entry's stat record. */
  readonly statAt: number;
  /** Word of its result: flags, then eight words of hash. */
  readonly resultAt: number;
  readonly flags: number;
  /** A view. Empty for the root. */
  readonly name: Buffer;
  /** A copy. */
  readonly hash: Buffer;
  /** Order of the present entry's name to the bytes of `other` from `start` to `end`. */
  compareName(other: Buffer, start: number, end: number): number;
  /** To the next entry; at the last one, it is done. */
  advance(): void;
}

/** Takes the new state's entries in, as a comparison decides on them. Handles are for `NewState` as well. */
export interface StateSink {
  /** The entries that follow are of this directory. */
  enter(dir: TreePath): void;
  /** Adds an entry of the entered directory; gives its handle. `stat` is a record at word `statAt`. */
  append(name: Buffer, stat: Int32Array, statAt: number, flags: number, hash?: Buffer): number;
  /** As append, with the hash of the cursor's present entry. */
  appendKnown(name: Buffer, stat: Int32Array, statAt: number, flags: number, known: StateCursor): number;
  /** Adds the cursor's present entry as it stands, with `flags` on top of its own. */
  copy(known: StateCursor, flags?: number): number;
  void(handle: number): void;
  /** Makes the next scan read the entry again. */
  distrust(handle: number): void;
  /** From now on what is below the directory stays while nothing is mounted there. */
  markMountpoint(handle: number): void;
  /** The entry's hash at present, a copy. */
  hashOf(handle: number): Buffer;
}
