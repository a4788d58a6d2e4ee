import type { BackupEntries, TreeEntry } from '../catalogue/port.ts';
import { blake3 } from '../model/digests.ts';
import { EntryType } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { baseName, isWithin, parentPath, type TreePath } from '../model/tree-path.ts';
import { Spool } from './spool.ts';
import { isOneName, LINK_GROUP_AT, sizeOf, typeOf } from './state-fields.ts';

/**
 * States of one inode are the same, so names are joined by the whole of them: a link group's id alone may come again,
 * since file systems give the numbers of inodes and devices that are gone to new ones, and a kept entry stays.
 */
function withLinkGroupOfState(state: Buffer): Buffer {
  if (isOneName(state)) return state;
  const own = Buffer.from(state);
  own.writeBigUInt64LE(blake3(state).readBigUInt64LE(0) | 1n, LINK_GROUP_AT);
  return own;
}

/** What is asked for, in order, without what lies below another one. */
export function planPaths(paths: readonly TreePath[]): TreePath[] {
  const sorted = [...paths].sort(Buffer.compare);
  const wanted: TreePath[] = [];
  for (const path of sorted) {
    const last = wanted.at(-1);
    if (!last || !isWithin(path, last)) wanted.push(path);
  }
  return wanted;
}

/** The entries to restore, in order of directory and name, each directory before what is in it. */
export interface RestorePlan {
  readonly entries: Spool;
  /** Directories only on the way to what was asked for: not whole, so nothing is deleted in them. */
  readonly onTheWay: ReadonlySet<string>;
  readonly count: number;
  /** Of files. */
  readonly bytes: number;
  /** Names that belong to link groups. */
  readonly linked: number;
}

/** Restores of less than this are done without threads, which take longer to start. */
const LARGE_ENTRIES = 1000;
const LARGE_BYTES = 16 * 1024 * 1024;

/**
 * Copies the list of entries out of the registry, so that its cursor is not held while files are written. `onLarge`: told
 * once, as soon as there is enough for threads.
 */
export async function makePlan(
  entries: BackupEntries,
  request: {
    readonly paths: readonly TreePath[];
    readonly spoolDir: string;
  },
  onLarge: () => void,
): Promise<RestorePlan> {
  const spool = new Spool(request.spoolDir);
  const totals = { count: 0, bytes: 0, linked: 0 };
  let large = false;
  const add = ({ dir, name, state: found, hints }: TreeEntry) => {
    const state = withLinkGroupOfState(found);
    spool.add(dir, name, state, hints);
    totals.count++;
    if (typeOf(state) === EntryType.file) totals.bytes += sizeOf(state);
    if (!isOneName(state)) totals.linked++;
    if (large || (totals.count < LARGE_ENTRIES && totals.bytes < LARGE_BYTES)) return;
    large = true;
    onLarge();
  };
  const onTheWay = new Set<string>();
  try {
    if (request.paths.length === 0) await entries.visit(add);
    for (const path of planPaths(request.paths)) {
      const ancestors = ancestorsOf(path).filter((one) => !onTheWay.has(one.toString('latin1')));
      for (const one of ancestors) onTheWay.add(one.toString('latin1'));
      const keys = ancestors.map((one) => ({ dir: parentPath(one), name: baseName(one) }));
      for (const found of await entries.lookup(keys)) if (found) add(found);
      const before = totals.count;
      await entries.visit(add, path);
      if (totals.count === before) throw new TmError('TM1704', path.toString(), { path: path.toString() });
    }
    spool.flush();
  } catch (error) {
    spool.close();
    throw error;
  }
  return { entries: spool, onTheWay, ...totals };
}

/** Directories above a path below the root, the outermost first. */
function ancestorsOf(path: TreePath): TreePath[] {
  const ancestors: TreePath[] = [];
  for (let up = parentPath(path); up.length > 0; up = parentPath(up)) ancestors.unshift(up);
  return ancestors;
}
