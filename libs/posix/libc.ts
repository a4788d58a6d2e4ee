import koffi from 'koffi';
import { TmError } from '../model/errors.ts';
import { EINTR, EIO } from './errno.ts';

/**
 * Numbers of the calls that libc lacks or exports only in versions newer than what Node itself needs (glibc
 * 2.28): mknodat came with 2.33, getdents64 with 2.30, and musl has no statx before 1.2.5.
 */
const SYSCALLS = {
  x64: { getdents64: 217, mknodat: 259, renameat2: 316, statx: 332 },
  arm64: { getdents64: 61, mknodat: 33, renameat2: 276, statx: 291 },
} as const;

function syscallNumbers() {
  const { platform, arch } = process;
  if (platform === 'linux' && (arch === 'x64' || arch === 'arm64')) {
    return { ...SYSCALLS[arch], openat2: 437, fchmodat2: 452 };
  }
  throw new TmError(
    'TM1011',
    `file access is written for Linux on x64 and arm64, this is ${platform} on ${arch}`,
  );
}

const numbers = syscallNumbers();
const lib = koffi.load(null);

type Call = (...args: (number | bigint | Uint8Array)[]) => number;

/** Addresses of our own scratch buffers travel as numbers (`address`), which is 0.2 µs a call cheaper. */
export const address = 'uintptr_t';
const size = 'uint64_t';
const bytes = 'uint8_t *';

/** Declares one call of libc. */
export const libcCall = (name: string, result: string, args: string[]): Call =>
  lib.func(name, result, args) as Call;

function systemCall(name: keyof typeof numbers, args: string[]): Call {
  const call = libcCall('syscall', 'int64_t', ['int64_t', ...args]);
  const number = numbers[name];
  switch (args.length) {
    case 3:
      return (a, b, c) => call(number, a!, b!, c!);
    case 4:
      return (a, b, c, d) => call(number, a!, b!, c!, d!);
    default:
      return (a, b, c, d, e) => call(number, a!, b!, c!, d!, e!);
  }
}

/**
 * The system, undressed: every call returns -1 on failure and leaves the reason in errno. Use it through
 * `attempt`. openat and syscall are variadic in C; on these two architectures that passes integers alike.
 */
export const libc = {
  openat: libcCall('openat', 'int', ['int', address, 'int', 'uint32_t']),
  openat2: systemCall('openat2', ['int', address, address, size]),
  close: libcCall('close', 'int', ['int']),
  statx: systemCall('statx', ['int', address, 'int', 'uint32_t', address]),
  getdents64: systemCall('getdents64', ['int', address, size]),
  readlinkat: libcCall('readlinkat', 'int64_t', ['int', address, address, size]),
  fstatfs: libcCall('fstatfs', 'int', ['int', address]),

  lseek: libcCall('lseek', 'int64_t', ['int', 'int64_t', 'int']),
  read: libcCall('read', 'int64_t', ['int', bytes, size]),
  pread: libcCall('pread', 'int64_t', ['int', bytes, size, 'int64_t']),
  write: libcCall('write', 'int64_t', ['int', bytes, size]),
  pwrite: libcCall('pwrite', 'int64_t', ['int', bytes, size, 'int64_t']),
  fadvise: libcCall('posix_fadvise', 'int', ['int', 'int64_t', 'int64_t', 'int']),
  ftruncate: libcCall('ftruncate', 'int', ['int', 'int64_t']),
  fallocate: libcCall('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']),
  fsync: libcCall('fsync', 'int', ['int']),
  fdatasync: libcCall('fdatasync', 'int', ['int']),
  flock: libcCall('flock', 'int', ['int', 'int']),

  mkdirat: libcCall('mkdirat', 'int', ['int', address, 'uint32_t']),
  mknodat: systemCall('mknodat', ['int', address, 'uint32_t', 'uint32_t']),
  symlinkat: libcCall('symlinkat', 'int', [address, 'int', address]),
  linkat: libcCall('linkat', 'int', ['int', address, 'int', address, 'int']),
  unlinkat: libcCall('unlinkat', 'int', ['int', address, 'int']),
  renameat: libcCall('renameat', 'int', ['int', address, 'int', address]),
  renameat2: systemCall('renameat2', ['int', address, 'int', address, 'uint32_t']),

  fchownat: libcCall('fchownat', 'int', ['int', address, 'uint32_t', 'uint32_t', 'int']),
  fchmod: libcCall('fchmod', 'int', ['int', 'uint32_t']),
  chmod: libcCall('chmod', 'int', [address, 'uint32_t']),
  fchmodat2: systemCall('fchmodat2', ['int', address, 'uint32_t', 'int']),
  utimensat: libcCall('utimensat', 'int', ['int', address, address, 'int']),
  futimens: libcCall('futimens', 'int', ['int', address]),
  access: libcCall('access', 'int', [address, 'int']),

  flistxattr: libcCall('flistxattr', 'int64_t', ['int', address, size]),
  fgetxattr: libcCall('fgetxattr', 'int64_t', ['int', address, address, size]),
  fsetxattr: libcCall('fsetxattr', 'int', ['int', address, bytes, size, 'int']),
  fremovexattr: libcCall('fremovexattr', 'int', ['int', address]),
  llistxattr: libcCall('llistxattr', 'int64_t', [address, address, size]),
  lgetxattr: libcCall('lgetxattr', 'int64_t', [address, address, address, size]),
  lsetxattr: libcCall('lsetxattr', 'int', [address, address, bytes, size, 'int']),
  lremovexattr: libcCall('lremovexattr', 'int', [address, address]),

  getuid: libcCall('getuid', 'uint32_t', []),
  geteuid: libcCall('geteuid', 'uint32_t', []),
};

/** -errno of the call that just returned -1; to be asked before anything else runs. */
export const failure = (): number => -(koffi.errno() || EIO);

/** Runs one system call: its result, or -errno. A call that a signal interrupted is made again. */
export function attempt(call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    const error = failure();
    if (error !== -EINTR) return error;
  }
}

/** The address of a buffer's memory, which stays the same as long as the buffer is referenced and not transferred. */
export const addressOf = (buffer: Uint8Array): number => Number(koffi.address(buffer));
