import { ENOENT, ENOSYS, ERANGE } from './errno.ts';
import { attempt, libc } from './libc.ts';
import { first, Scratch, second } from './scratch.ts';

/**
 * Extended attributes, names with their namespace (`user.x`). Those of files and directories go by a real
 * descriptor; what can't be opened (symlinks, fifos, devices, sockets) goes by directory handle and name, and
 * symlinks are not followed. Setters return 0 or -errno; -EOPNOTSUPP where the file system has none, -EPERM
 * for `user.` on anything but files and directories, -ENODATA where there is no such attribute.
 */

/** The system's limit of a list of names as well as of a value (XATTR_LIST_MAX, XATTR_SIZE_MAX). */
const LIMIT = 65_536;
const result = new Scratch(LIMIT);

const copyOf = (length: number): Buffer => Buffer.from(result.bytes.subarray(0, length));

function namesOf(length: number): Buffer[] {
  const list = copyOf(length);
  const names: Buffer[] = [];
  for (let start = 0; start < length; ) {
    const end = list.indexOf(0, start);
    names.push(list.subarray(start, end));
    start = end + 1;
  }
  return names.sort(Buffer.compare);
}

/** The kernel takes memory for as much as it is offered, so it is offered little first: most files have no attribute. */
const FEW = 512;
const NO_NAMES: Buffer[] = [];

/** Names sorted by bytes, or -errno. */
export function listXattrs(fd: number): Buffer[] | number {
  let length = attempt(() => libc.flistxattr(fd, result.address, FEW));
  if (length === -ERANGE) length = attempt(() => libc.flistxattr(fd, result.address, LIMIT));
  if (length === 0) return NO_NAMES;
  return length < 0 ? length : namesOf(length);
}

export function getXattr(fd: number, name: Buffer): Buffer | number {
  const key = second.put(name);
  if (key < 0) return key;
  const length = attempt(() => libc.fgetxattr(fd, key, result.address, LIMIT));
  return length < 0 ? length : copyOf(length);
}

/** Creates or replaces it. */
export function setXattr(fd: number, name: Buffer, value: Uint8Array): number {
  const key = second.put(name);
  return key < 0 ? key : attempt(() => libc.fsetxattr(fd, key, value, value.length, 0));
}

export function removeXattr(fd: number, name: Buffer): number {
  const key = second.put(name);
  return key < 0 ? key : attempt(() => libc.fremovexattr(fd, key));
}

/** There is no portable *at call, so the directory handle becomes a path; relative to AT_FDCWD the name is one. */
function pathOf(dirfd: number, name: Buffer): number {
  return first.put(dirfd < 0 ? name : Buffer.concat([Buffer.from(`/proc/self/fd/${dirfd}/`), name]));
}

/** Makes the call by path. Where /proc is missing the answer is -ENOSYS, not that there is no such file. */
function attemptAt(dirfd: number, name: Buffer, call: (path: number) => number): number {
  const path = pathOf(dirfd, name);
  if (path < 0) return path;
  const answer = attempt(() => call(path));
  if (answer !== -ENOENT || dirfd < 0) return answer;
  const handle = first.put(Buffer.from(`/proc/self/fd/${dirfd}`));
  return attempt(() => libc.access(handle, 0)) < 0 ? -ENOSYS : answer;
}

export function listXattrsAt(dirfd: number, name: Buffer): Buffer[] | number {
  let length = attemptAt(dirfd, name, (path) => libc.llistxattr(path, result.address, FEW));
  if (length === -ERANGE)
    length = attemptAt(dirfd, name, (path) => libc.llistxattr(path, result.address, LIMIT));
  return length < 0 ? length : namesOf(length);
}

export function getXattrAt(dirfd: number, name: Buffer, attribute: Buffer): Buffer | number {
  const key = second.put(attribute);
  if (key < 0) return key;
  const length = attemptAt(dirfd, name, (path) => libc.lgetxattr(path, key, result.address, LIMIT));
  return length < 0 ? length : copyOf(length);
}

/** Creates or replaces it. */
export function setXattrAt(dirfd: number, name: Buffer, attribute: Buffer, value: Uint8Array): number {
  const key = second.put(attribute);
  if (key < 0) return key;
  return attemptAt(dirfd, name, (path) => libc.lsetxattr(path, key, value, value.length, 0));
}

export function removeXattrAt(dirfd: number, name: Buffer, attribute: Buffer): number {
  const key = second.put(attribute);
  return key < 0 ? key : attemptAt(dirfd, name, (path) => libc.lremovexattr(path, key));
}
