import type { TreePath } from '../model/tree-path.ts';
import type { DirtyEntry, DirtySubtree } from '../watch/port.ts';

/** Where a micro-differential looks: all that is known to have changed since its base, and perhaps more. */
export interface Dirty {
  readonly entries: readonly DirtyEntry[];
  readonly subtrees: readonly DirtySubtree[];
  /** Of the entries: still being written, taken all the same since they have waited for too long. They are flagged. */
  readonly unsettled: readonly TreePath[];
}
