import { AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, O_PATH, S_IFLNK, UTIME_OMIT } from './constants.ts';
import { ENOSYS, EOPNOTSUPP, EPERM } from './errno.ts';
import { attempt, libc } from './libc.ts';
import { close, openat } from './open.ts';
import { first, Scratch } from './scratch.ts';
import { fstat, Stat } from './stat.ts';

/** 0 or -errno, as all of these. Clears setuid and setgid, so it comes before the mode. -1 leaves an id as it is. */
export function fchownat(
  dirfd: number,
  name: Buffer,
  uid: number,
  gid: number,
  flags: number = AT_SYMLINK_NOFOLLOW,
): number {
  const path = first.put(name);
  if (path < 0) return path;
  return attempt(() => libc.fchownat(dirfd, path, uid >>> 0, gid >>> 0, flags));
}

export const fchmod = (fd: number, mode: number): number => attempt(() => libc.fchmod(fd, mode));

/** Never through a symlink: -EOPNOTSUPP for one, since a symlink has no mode of its own. */
export function fchmodat(dirfd: number, name: Buffer, mode: number): number {
  const path = first.put(name);
  if (path < 0) return path;
  const result = attempt(() => libc.fchmodat2(dirfd, path, mode, AT_SYMLINK_NOFOLLOW));
  // Before Linux 6.6 the call is missing; the call filters of some containers say EPERM for that.
  return result === -ENOSYS || result === -EPERM ? chmodByHandle(dirfd, name, mode) : result;
}

/** fchmodat without the system's help. A handle names one file, whatever happens to its name meanwhile. */
export function chmodByHandle(dirfd: number, name: Buffer, mode: number): number {
  const fd = openat(dirfd, name, O_PATH | O_NOFOLLOW);
  if (fd < 0) return fd;
  try {
    const stat = new Stat();
    const error = fstat(fd, stat);
    if (error < 0) return error;
    if (stat.type === S_IFLNK) return -EOPNOTSUPP;
    const path = first.put(Buffer.from(`/proc/self/fd/${fd}`));
    return attempt(() => libc.chmod(path, mode));
  } finally {
    close(fd);
  }
}

const times = new Scratch(32);
const timeWords = new BigInt64Array(times.bytes.buffer);

function putTimes(mtimeSec: bigint, mtimeNsec: number): void {
  timeWords[0] = 0n;
  timeWords[1] = BigInt(UTIME_OMIT);
  timeWords[2] = mtimeSec;
  timeWords[3] = BigInt(mtimeNsec);
}

/** Sets the modification time only. A file system clamps what it can't hold without saying so. */
export function utimensat(
  dirfd: number,
  name: Buffer,
  mtimeSec: bigint,
  mtimeNsec: number,
  flags: number = AT_SYMLINK_NOFOLLOW,
): number {
  const path = first.put(name);
  if (path < 0) return path;
  putTimes(mtimeSec, mtimeNsec);
  return attempt(() => libc.utimensat(dirfd, path, times.address, flags));
}

/** As utimensat, of an open file. */
export function futimens(fd: number, mtimeSec: bigint, mtimeNsec: number): number {
  putTimes(mtimeSec, mtimeNsec);
  return attempt(() => libc.futimens(fd, times.address));
}
