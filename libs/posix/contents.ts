import { EIO, EOVERFLOW } from './errno.ts';
import { attempt, libc } from './libc.ts';

/**
 * Positions and lengths are in bytes, whole numbers below 2^53. Every call returns what the system call
 * returns, or -errno. A range outside of the buffer is a RangeError.
 */
function slice(buffer: Uint8Array, offset: number, length: number): Uint8Array {
  if (offset === 0 && length === buffer.length) return buffer;
  const whole = Number.isInteger(offset) && Number.isInteger(length);
  if (!whole || offset < 0 || length < 0 || offset + length > buffer.length) {
    throw new RangeError(`${length} bytes at ${offset} are outside of a buffer of ${buffer.length}`);
  }
  return buffer.subarray(offset, offset + length);
}

/** Bytes read; fewer than asked for at the end of the file, 0 behind it. */
export function pread(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  const target = slice(buffer, offset, length);
  return attempt(() => libc.pread(fd, target, length, position));
}

/** As pread, until all of it has come or the file ends: bytes read, or -errno. */
export function preadFully(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  let done = 0;
  while (done < length) {
    const read = pread(fd, buffer, offset + done, length - done, position + done);
    if (read < 0) return read;
    if (read === 0) break;
    done += read;
  }
  return done;
}

const POSIX_FADV_WILLNEED = 3;

/** Lets the system begin to read a part of a file; a hint, which may do nothing. */
export function willNeed(fd: number, position: number, length: number): void {
  libc.fadvise(fd, position, length, POSIX_FADV_WILLNEED);
}

/** As pread, at the descriptor's position. */
export function read(fd: number, buffer: Uint8Array, offset = 0, length = buffer.length - offset): number {
  const target = slice(buffer, offset, length);
  return attempt(() => libc.read(fd, target, length));
}

/** Bytes written, perhaps fewer than given. */
export function write(fd: number, buffer: Uint8Array, offset = 0, length = buffer.length - offset): number {
  const data = slice(buffer, offset, length);
  return attempt(() => libc.write(fd, data, length));
}

/** As write, at `position`. */
export function pwrite(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  const data = slice(buffer, offset, length);
  return attempt(() => libc.pwrite(fd, data, length, position));
}

function fully(length: number, writeFrom: (done: number) => number): number {
  let done = 0;
  while (done < length) {
    const written = writeFrom(done);
    if (written < 0) return written;
    if (written === 0) return -EIO;
    done += written;
  }
  return length;
}

/** Writes all of it: `length`, or -errno (then an unknown part is written). */
export function writeFully(
  fd: number,
  buffer: Uint8Array,
  offset = 0,
  length = buffer.length - offset,
): number {
  return fully(length, (done) => write(fd, buffer, offset + done, length - done));
}

/** As writeFully, at `position`. */
export function pwriteFully(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  return fully(length, (done) => pwrite(fd, buffer, offset + done, length - done, position + done));
}

/** The new position. -ENXIO: SEEK_DATA found none up to the end, or the offset is behind the end. */
export function lseek(fd: number, offset: number, whence: number): number {
  const position = attempt(() => libc.lseek(fd, offset, whence));
  return Number.isSafeInteger(position) ? position : -EOVERFLOW;
}

export const ftruncate = (fd: number, size: number): number => attempt(() => libc.ftruncate(fd, size));

/** `mode` of FALLOC_FL_*. -EOPNOTSUPP where the file system can't. */
export const fallocate = (fd: number, mode: number, offset: number, length: number): number =>
  attempt(() => libc.fallocate(fd, mode, offset, length));

export const fsync = (fd: number): number => attempt(() => libc.fsync(fd));

export const fdatasync = (fd: number): number => attempt(() => libc.fdatasync(fd));
