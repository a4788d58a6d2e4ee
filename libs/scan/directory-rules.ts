import { toText } from '../model/byte-text.ts';
import { type TreePath, toSlashes } from '../model/tree-path.ts';
import {
  close,
  fstat,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  openat,
  pread,
  S_IFREG,
  Stat,
} from '../posix/index.ts';
import { ExcludeRules } from './excludes.ts';
import { throwIfExhausted } from './exhausted.ts';
import type { Reason } from './steps.ts';

/** Its lines are patterns for its directory and what is below. */
export const IGNORE_FILE = Buffer.from('.tidemarkignore');
/** Marks a directory of which nothing need be backed up (Cache Directory Tagging Specification, bford.info/cachedir). */
export const CACHE_TAG = Buffer.from('CACHEDIR.TAG');
const SIGNATURE = Buffer.from('Signature: 8a477f597d28d172789f06886806bc55');
/** Bytes of an ignore file; one that is larger was not made for this. */
const MAX_IGNORE_BYTES = 1024 * 1024;

const CACHE: Reason = { code: 1117, message: 'CACHEDIR.TAG marks it as a cache' };
const unusable = (message: string): Reason => ({ code: 1118, message });

/** What is left out of one directory. */
export interface DirectoryRules {
  readonly rules: ExcludeRules;
  /** All of it but its tag is left out. */
  readonly isCache: boolean;
}

export const NOTHING: DirectoryRules = { rules: new ExcludeRules(), isCache: false };

/** Is told of one of the directory's names. */
type Note = (name: Buffer, reason: Reason) => void;
/** Whether a directory has a name. */
export type HasName = (name: Buffer) => boolean;

/**
 * The rules of a directory below one with the rules `above`. `fd`: of the directory; `note` is told what is to be
 * reported. The root is no cache: who names it wants what is in it.
 */
export function rulesOf(
  { path, fd, has }: { readonly path: TreePath; readonly fd: number; readonly has: HasName },
  above: ExcludeRules,
  note: Note,
): DirectoryRules {
  const rules = has(IGNORE_FILE) ? withFile(path, fd, above, note) : above;
  const isCache = path.length > 0 && has(CACHE_TAG) && isTagged(fd) && !rules.includes(textOf(path), true);
  if (isCache) note(CACHE_TAG, CACHE);
  return { rules, isCache };
}

const textOf = (path: TreePath): string => toText(toSlashes(path));

function withFile(path: TreePath, fd: number, above: ExcludeRules, note: Note): ExcludeRules {
  const file = contentOf(fd, IGNORE_FILE, MAX_IGNORE_BYTES + 1);
  if (file === undefined) note(IGNORE_FILE, unusable('it cannot be read, or is no file'));
  else if (file.length > MAX_IGNORE_BYTES)
    note(IGNORE_FILE, unusable(`it is larger than ${MAX_IGNORE_BYTES} bytes`));
  else return above.within(textOf(path), file);
  return above;
}

const isTagged = (fd: number): boolean =>
  contentOf(fd, CACHE_TAG, SIGNATURE.length)?.equals(SIGNATURE) === true;

/** The first bytes of a file, at most `limit` of them; undefined where it can't be read or is no file. */
function contentOf(dirFd: number, name: Buffer, limit: number): Buffer | undefined {
  const fd = openat(dirFd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  throwIfExhausted(fd); // rules that are there would count as none
  if (fd < 0) return undefined;
  try {
    const stat = new Stat();
    if (fstat(fd, stat) < 0 || stat.type !== S_IFREG) return undefined;
    const bytes = Buffer.alloc(Math.min(limit, stat.sizeNumber));
    let length = 0;
    while (length < bytes.length) {
      const read = pread(fd, bytes, length, bytes.length - length, length);
      if (read < 0) return undefined;
      if (read === 0) break;
      length += read;
    }
    return bytes.subarray(0, length);
  } finally {
    close(fd);
  }
}
