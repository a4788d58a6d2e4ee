import { fileURLToPath } from 'node:url';
import { TmError } from '../../model/errors.ts';

/** The absolute folder that file:///dir names. Throws TM1002. */
export function folderOfUrl(url: string): string {
  const bad = (why: string): TmError => new TmError('TM1002', `store ${JSON.stringify(url)}: ${why}`);
  if (!url.startsWith('file:///')) throw bad('an absolute folder is file:///DIR');
  let parsed: URL;
  let folder: string;
  try {
    parsed = new URL(url);
    folder = fileURLToPath(parsed);
  } catch {
    throw bad('it is no URL of a folder');
  }
  if (parsed.search || parsed.hash) throw bad("write '?' as %3F and '#' as %23");
  if (folder.includes('\0')) throw bad('it is no URL of a folder');
  const trimmed = folder.replace(/\/+$/, '');
  if (trimmed === '') throw bad('the root of the file system is no place for a store');
  return trimmed;
}
