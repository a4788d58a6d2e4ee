import { directoryHash } from '../../model/digests.ts';
import { compareEntries, type TreePath } from '../../model/tree-path.ts';
import type { EntryKey } from '../port.ts';
import { TREE_PREFIX } from './migrations/1-initial.ts';

/** Keys that follow each other in tree order, (dir, name), and that one index has in an order to read a few of them by. */
export interface TreeSpan {
  /** SQL over a row of `entries`, besides its source. */
  readonly where: string;
  /** Of columns that begin with the index's. */
  readonly order: 'name' | 'prefix, dir_path, name';
}

/** What the index in tree order has of a row; `prefix` in a span's order. */
export const PREFIX = `substr(dir_path, 1, ${TREE_PREFIX})`;

const literal = (bytes: Buffer): string => `'\\x${bytes.toString('hex')}'::bytea`;

/** All of the tree, or what lies within a directory. */
export interface TreeScope {
  readonly within: TreePath;
  readonly depth: 'children' | 'all';
}

/**
 * What comes after a key in the scope (the scope's own entry, which lies in another directory, is not among it): the
 * rest of the key's directory, then what follows that one.
 */
export function spansAfter({ within, depth }: TreeScope, after: EntryKey | undefined): TreeSpan[] {
  const end = within.length === 0 ? undefined : Buffer.concat([within, Buffer.from([1])]);
  if (!after || after.dir.compare(within) < 0)
    return [depth === 'children' ? directory(within) : directories({ from: within, end })];
  if (depth === 'children') return after.dir.equals(within) ? [directory(within, after.name)] : [];
  if (end && after.dir.compare(end) >= 0) return [];
  return [directory(after.dir, after.name), directories({ after: after.dir, end })];
}

/** Whether a key comes after another one. */
export const isAfter = (key: EntryKey, after: EntryKey | undefined): boolean =>
  !after || compareEntries(key.dir, key.name, after.dir, after.name) > 0;

function directory(path: TreePath, after?: Buffer): TreeSpan {
  const rest = after ? ` and name > ${literal(after)}` : '';
  return { where: `dir = ${literal(directoryHash(path))}${rest}`, order: 'name' };
}

/** A bound on the whole path is one on its beginning too; where the bound is short, a strict one stays strict. */
function directories(span: { from?: TreePath; after?: TreePath; end: TreePath | undefined }): TreeSpan {
  const { from, after, end } = span;
  const bounds: string[] = [];
  const bound = (operator: '>=' | '>' | '<', path: TreePath) => {
    const beginning = path.length < TREE_PREFIX ? operator : `${operator[0]}=`;
    bounds.push(`${PREFIX} ${beginning} ${literal(path.subarray(0, TREE_PREFIX))}`);
    bounds.push(`dir_path ${operator} ${literal(path)}`);
  };
  if (from && from.length > 0) bound('>=', from);
  if (after) bound('>', after);
  if (end) bound('<', end);
  return { where: bounds.length > 0 ? bounds.join(' and ') : 'true', order: 'prefix, dir_path, name' };
}
