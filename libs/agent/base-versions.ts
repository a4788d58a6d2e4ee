import type { HttpClient } from '../http/client.ts';
import { joinPath } from '../model/tree-path.ts';
import type { EntryKey } from '../registry/port.ts';
import type { BaseVersion } from './looked-scan.ts';
import { recordPages } from './record-pages.ts';

/** Each costs a request; a backup, which these are to spare, about as many as this. */
const MAX_ASKED = 8;

/** Entries of a backup, asked one by one; of more than a few of them nothing is told. */
export async function baseVersions(
  control: HttpClient,
  backupId: string,
  keys: readonly EntryKey[],
  signal: AbortSignal,
): Promise<readonly (BaseVersion | undefined)[]> {
  if (keys.length > MAX_ASKED) return keys.map(() => undefined);
  return Promise.all(keys.map((key) => versionOf(control, backupId, key, signal)));
}

async function versionOf(
  control: HttpClient,
  backupId: string,
  { dir, name }: EntryKey,
  signal: AbortSignal,
): Promise<BaseVersion | undefined> {
  const path = joinPath(dir, name);
  const range = { within: path.length > 0 ? path : undefined, pageSize: 1 };
  for await (const [record] of recordPages(control, backupId, range, signal))
    return record?.dir.equals(dir) && record.name.equals(name) ? record : undefined;
  return undefined;
}
