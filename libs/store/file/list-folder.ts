import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isNameComponent, RESERVED_COMPONENT } from '../object-name.ts';
import type { ObjectInfo } from '../port.ts';
import { isAbsence } from './file-errors.ts';

const STATS_AT_ONCE = 64;

/** Which names are wanted: those that begin with `prefix` and come after `after`. */
interface Span {
  readonly prefix: string;
  readonly after: string;
}

/**
 * Objects below `folder` (relative to the root, ending in '/' or empty) in order of names. What can be no object's
 * name is passed over. A folder's key ends in '/', so that its contents stand where the order of whole names has them:
 * `a-b` before `a/c` before `a0`. One folder's names are in memory at a time, per level.
 */
export async function* listFolder(root: string, folder: string, span: Span): AsyncGenerator<ObjectInfo> {
  let names: string[] = [];
  for (const key of await keysOf(root, folder)) {
    if (!mayHold(key, span)) continue;
    if (!key.endsWith('/')) {
      names.push(key);
      if (names.length < STATS_AT_ONCE) continue;
    }
    yield* await statAll(root, names);
    names = [];
    if (key.endsWith('/')) yield* listFolder(root, key, span);
  }
  yield* await statAll(root, names);
}

/** The folder from which all names with the prefix are found. */
export const folderOfPrefix = (prefix: string): string => prefix.slice(0, prefix.lastIndexOf('/') + 1);

async function keysOf(root: string, folder: string): Promise<string[]> {
  const keys: string[] = [];
  for (const entry of await readFolder(join(root, folder))) {
    const isReserved = folder === '' && entry.name === RESERVED_COMPONENT;
    if (isReserved || !isNameComponent(entry.name)) continue;
    if (entry.isDirectory()) keys.push(`${folder}${entry.name}/`);
    else if (entry.isFile()) keys.push(folder + entry.name);
  }
  return keys.sort();
}

async function readFolder(path: string) {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

function mayHold(key: string, { prefix, after }: Span): boolean {
  if (!key.endsWith('/')) return key.startsWith(prefix) && key > after;
  const inPrefix = key.startsWith(prefix) || prefix.startsWith(key);
  return inPrefix && (key > after || after.startsWith(key));
}

async function statAll(root: string, names: readonly string[]): Promise<ObjectInfo[]> {
  const found = await Promise.all(names.map((name) => statObject(root, name)));
  return found.filter((info) => info !== undefined);
}

/** Undefined where no file has that name. */
export async function statObject(root: string, name: string): Promise<ObjectInfo | undefined> {
  try {
    const info = await stat(join(root, name));
    return info.isFile() ? { name, size: info.size } : undefined;
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}
