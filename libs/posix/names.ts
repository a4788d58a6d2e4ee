import { EINVAL, ENAMETOOLONG } from './errno.ts';
import { attempt, libc } from './libc.ts';
import { first, Scratch, second } from './scratch.ts';

/** Linux has 12 bits for the major and 20 for the minor number (include/linux/kdev_t.h). */
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;

const target = new Scratch(4097);

/** All of these return 0 or -errno, and none follows a symlink in the last component. Modes are subject to the umask. */
function withName(name: Buffer, call: (path: number) => number): number {
  const path = first.put(name);
  return path < 0 ? path : attempt(() => call(path));
}

function withNames(one: Buffer, other: Buffer, call: (path: number, otherPath: number) => number): number {
  const path = first.put(one);
  if (path < 0) return path;
  const otherPath = second.put(other);
  return otherPath < 0 ? otherPath : attempt(() => call(path, otherPath));
}

export const mkdirat = (dirfd: number, name: Buffer, mode: number): number =>
  withName(name, (path) => libc.mkdirat(dirfd, path, mode));

/** `mode` includes S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK or S_IFREG; a device takes a privileged user. */
export function mknodat(dirfd: number, name: Buffer, mode: number, major: number, minor: number): number {
  if (major >>> 0 > MAJOR_MAX || minor >>> 0 > MINOR_MAX) return -EINVAL;
  const device = ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
  return withName(name, (path) => libc.mknodat(dirfd, path, mode, device));
}

/** `contents` is what the link says, any bytes but NUL. */
export const symlinkat = (contents: Buffer, dirfd: number, name: Buffer): number =>
  withNames(contents, name, (text, path) => libc.symlinkat(text, dirfd, path));

/** What the link says, a copy; or -errno (-EINVAL: no symlink). An empty name reads `dirfd` itself (O_PATH). */
export function readlinkat(dirfd: number, name: Buffer): Buffer | number {
  const { address, bytes } = target;
  const length = withName(name, (path) => libc.readlinkat(dirfd, path, address, bytes.length));
  if (length < 0) return length;
  return length === bytes.length ? -ENAMETOOLONG : Buffer.from(bytes.subarray(0, length));
}

export const linkat = (
  oldDirfd: number,
  oldName: Buffer,
  newDirfd: number,
  newName: Buffer,
  flags = 0,
): number => withNames(oldName, newName, (from, to) => libc.linkat(oldDirfd, from, newDirfd, to, flags));

/** AT_REMOVEDIR in `flags` removes an empty directory. */
export const unlinkat = (dirfd: number, name: Buffer, flags = 0): number =>
  withName(name, (path) => libc.unlinkat(dirfd, path, flags));

/** Replaces what has the new name. */
export const renameat = (oldDirfd: number, oldName: Buffer, newDirfd: number, newName: Buffer): number =>
  withNames(oldName, newName, (from, to) => libc.renameat(oldDirfd, from, newDirfd, to));

/** With RENAME_NOREPLACE -EEXIST where the new name is taken; -EINVAL or -ENOSYS where that isn't supported. */
export const renameat2 = (
  oldDirfd: number,
  oldName: Buffer,
  newDirfd: number,
  newName: Buffer,
  flags: number,
): number => withNames(oldName, newName, (from, to) => libc.renameat2(oldDirfd, from, newDirfd, to, flags));
