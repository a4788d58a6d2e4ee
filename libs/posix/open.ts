import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from './constants.ts';
import { EINTR } from './errno.ts';
import { attempt, failure, libc } from './libc.ts';
import { check, PosixError } from './posix-error.ts';
import { first, Scratch } from './scratch.ts';

/** A descriptor, or -errno. Always close-on-exec. `mode` is subject to the umask. */
export function openat(dirfd: number, name: Buffer, flags: number, mode = 0): number {
  const path = first.put(name);
  if (path < 0) return path;
  return attempt(() => libc.openat(dirfd, path, flags | O_CLOEXEC, mode));
}

/** As openat, by path and throwing PosixError: for the few places where a path is where one starts. */
export function open(path: Buffer | string, flags: number, mode = 0): number {
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  return check(openat(AT_FDCWD, bytes, flags, mode), 'open', path);
}

/** Opens a directory for reading, or -errno: -ENOTDIR or -ELOOP where `name` is a symlink. */
export const openDirAt = (dirfd: number, name: Buffer): number =>
  openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

const how = new Scratch(24);
const howWords = new BigUint64Array(how.bytes.buffer);

/**
 * As openat, with RESOLVE_* rules for every component. -ENOSYS before Linux 5.6; -EAGAIN where a rename at the
 * same time made the answer unsure (try again). `mode` has to be 0 unless the file may be created.
 */
export function openat2(dirfd: number, name: Buffer, flags: number, mode: number, resolve: number): number {
  const path = first.put(name);
  if (path < 0) return path;
  howWords[0] = BigInt((flags | O_CLOEXEC) >>> 0);
  howWords[1] = BigInt(mode);
  howWords[2] = BigInt(resolve);
  return attempt(() => libc.openat2(dirfd, path, how.address, how.bytes.length));
}

/**
 * The descriptor is gone afterwards in any case, also when interrupted. Throws PosixError when it wasn't open
 * (EBADF: a mistake that would close somebody else's next) or when late writes failed (EIO, ENOSPC, EDQUOT).
 */
export function close(fd: number): void {
  if (libc.close(fd) >= 0) return;
  const error = failure();
  if (error !== -EINTR) throw new PosixError(error, 'close');
}
