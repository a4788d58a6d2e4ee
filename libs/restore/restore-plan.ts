import { blake3 } from '../model/digests.ts';
import { EntryType } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import { RecordOp } from '../model/records.ts';
import { baseName, isWithin, parentPath, type TreePath } from '../model/tree-path.ts';
import type { EntryVersion, Registry } from '../registry/port.ts';
import { Spool } from './spool.ts';

/** Fields of an encoded state (model/entry.ts) that are read without decoding the rest. */
const SIZE_AT = 24;
const LINK_GROUP_AT = 32;

export const typeOf = (state: Buffer): EntryType => state[0] as EntryType;
export const sizeOf = (state: Buffer): number =>
  state.readUInt32LE(SIZE_AT) + state.readUInt32LE(SIZE_AT + 4) * 2 ** 32;
export const linkGroupOf = (state: Buffer): bigint => state.readBigUInt64LE(LINK_GROUP_AT);

/**
 * States of one inode are the same, so names are joined by the whole of them: a link group's id alone may come again,
 * since file systems give the numbers of inodes and devices that are gone to new ones, and a kept entry stays.
 */
function withLinkGroupOfState(state: Buffer): Buffer {
  if (linkGroupOf(state) === 0n) return state;
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

/** Copies the list of entries out of the registry, so that its cursor is not held while files are written. */
export async function makePlan(
  entries: Registry['entries'],
  request: {
    readonly sourceId: number;
    readonly seq: number;
    readonly paths: readonly TreePath[];
    readonly spoolDir: string;
  },
): Promise<RestorePlan> {
  const { sourceId, seq, spoolDir } = request;
  const spool = new Spool(spoolDir);
  const totals = { count: 0, bytes: 0, linked: 0 };
  const add = ({ dir, name, state: found, hints }: EntryVersion) => {
    const state = withLinkGroupOfState(found);
    spool.add({ op: RecordOp.present, dir, name, state, hints, code: 0 });
    totals.count++;
    if (typeOf(state) === EntryType.file) totals.bytes += sizeOf(state);
    if (linkGroupOf(state) !== 0n) totals.linked++;
  };
  const onTheWay = new Set<string>();
  try {
    if (request.paths.length === 0) for await (const page of entries.list(sourceId, seq)) page.forEach(add);
    for (const path of planPaths(request.paths)) {
      const ancestors = ancestorsOf(path).filter((one) => !onTheWay.has(one.toString('latin1')));
      for (const one of ancestors) onTheWay.add(one.toString('latin1'));
      const keys = ancestors.map((one) => ({ dir: parentPath(one), name: baseName(one) }));
      for (const found of await entries.lookup(sourceId, seq, keys)) if (found) add(found);
      const before = totals.count;
      for await (const page of entries.list(sourceId, seq, { within: path })) page.forEach(add);
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
