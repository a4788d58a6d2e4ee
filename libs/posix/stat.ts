import { AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, S_IFMT } from './constants.ts';
import { EINTR } from './errno.ts';
import { failure, libc } from './libc.ts';
import { first, Scratch } from './scratch.ts';

/**
 * Byte offsets in struct statx (linux/stat.h): one layout on all architectures, integers in native order.
 * Widths: seconds, ino, size, blocks, attributes, mountId are 8 bytes; mode is 2; the rest are 4.
 */
export const STATX_OFFSETS = {
  mask: 0x00,
  blockSize: 0x04,
  attributes: 0x08,
  nlink: 0x10,
  uid: 0x14,
  gid: 0x18,
  mode: 0x1c,
  ino: 0x20,
  size: 0x28,
  blocks: 0x30,
  attributesMask: 0x38,
  atimeSec: 0x40,
  atimeNsec: 0x48,
  btimeSec: 0x50,
  btimeNsec: 0x58,
  ctimeSec: 0x60,
  ctimeNsec: 0x68,
  mtimeSec: 0x70,
  mtimeNsec: 0x78,
  rdevMajor: 0x80,
  rdevMinor: 0x84,
  devMajor: 0x88,
  devMinor: 0x8c,
  mountId: 0x90,
} as const;

const at = STATX_OFFSETS;
const STATX_BYTES = 256;
const STATX_BASIC_STATS = 0x7ff;
const STATX_MNT_ID = 0x1000;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
const TWO_32 = 2 ** 32;
/** Size, modification and change times, as indices of 32-bit words. */
const CONTENT_WORDS = [
  at.size,
  at.size + 4,
  at.mtimeSec,
  at.mtimeSec + 4,
  at.mtimeNsec,
  at.ctimeSec,
  at.ctimeSec + 4,
  at.ctimeNsec,
].map((offset) => offset >> 2);

/** What statx said of one file. Meant to be reused: the getters read `buffer` at the time they are called. */
export class Stat {
  /** The raw struct. Its memory is written by the system, so never transfer it to another thread; copy it. */
  readonly buffer: Buffer;
  /** For this library. */
  readonly address: number;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;
  readonly #s64: BigInt64Array;

  constructor() {
    const { bytes, address } = new Scratch(STATX_BYTES);
    this.buffer = bytes;
    this.address = address;
    this.#u16 = new Uint16Array(bytes.buffer);
    this.#u32 = new Uint32Array(bytes.buffer);
    this.#u64 = new BigUint64Array(bytes.buffer);
    this.#s64 = new BigInt64Array(bytes.buffer);
  }

  /** One of S_IF*. */
  get type(): number {
    return this.#u16[at.mode >> 1]! & S_IFMT;
  }
  /** Permission bits with setuid, setgid and sticky; no type. */
  get mode(): number {
    return this.#u16[at.mode >> 1]! & 0o7777;
  }
  get uid(): number {
    return this.#u32[at.uid >> 2]!;
  }
  get gid(): number {
    return this.#u32[at.gid >> 2]!;
  }
  get nlink(): number {
    return this.#u32[at.nlink >> 2]!;
  }
  get ino(): bigint {
    return this.#u64[at.ino >> 3]!;
  }
  get size(): bigint {
    return this.#u64[at.size >> 3]!;
  }
  /** Exact below 2^53. */
  get sizeNumber(): number {
    return this.#u32[(at.size >> 2) + 1]! * TWO_32 + this.#u32[at.size >> 2]!;
  }
  /** Allocated, in bytes; exact below 2^53. */
  get allocatedNumber(): number {
    return (this.#u32[(at.blocks >> 2) + 1]! * TWO_32 + this.#u32[at.blocks >> 2]!) * 512;
  }
  /** Whether nothing shows that the content is another one: size, modification and change times. */
  hasTimesAndSizeOf(other: Stat): boolean {
    for (const word of CONTENT_WORDS) if (this.#u32[word] !== other.#u32[word]) return false;
    return true;
  }
  /** Seconds since 1970, negative before. */
  get mtimeSec(): bigint {
    return this.#s64[at.mtimeSec >> 3]!;
  }
  get mtimeNsec(): number {
    return this.#u32[at.mtimeNsec >> 2]!;
  }
  get ctimeSec(): bigint {
    return this.#s64[at.ctimeSec >> 3]!;
  }
  get ctimeNsec(): number {
    return this.#u32[at.ctimeNsec >> 2]!;
  }
  get devMajor(): number {
    return this.#u32[at.devMajor >> 2]!;
  }
  get devMinor(): number {
    return this.#u32[at.devMinor >> 2]!;
  }
  /** major << 32 | minor; not the dev_t of stat(2). */
  get dev(): bigint {
    return (BigInt(this.devMajor) << 32n) | BigInt(this.devMinor);
  }
  get rdevMajor(): number {
    return this.#u32[at.rdevMajor >> 2]!;
  }
  get rdevMinor(): number {
    return this.#u32[at.rdevMinor >> 2]!;
  }
  /** 0n where the kernel (before 5.8) doesn't tell. */
  get mountId(): bigint {
    return (this.#u32[at.mask >> 2]! & STATX_MNT_ID) === 0 ? 0n : this.#u64[at.mountId >> 3]!;
  }
  /** Undefined where the kernel (before 5.8) doesn't tell. */
  get isMountRoot(): boolean | undefined {
    if ((this.#u32[at.attributesMask >> 2]! & STATX_ATTR_MOUNT_ROOT) === 0) return undefined;
    return (this.#u32[at.attributes >> 2]! & STATX_ATTR_MOUNT_ROOT) !== 0;
  }
}

/** Fills `out`; 0 or -errno (then `out` is as before). An empty name with AT_EMPTY_PATH means `dirfd` itself. */
export function statx(
  dirfd: number,
  name: Buffer,
  out: Stat,
  flags: number = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
): number {
  const path = first.put(name);
  return path < 0 ? path : stat(dirfd, path, flags, out);
}

/** As statx, of the name that begins at byte `at` of `names` and ends with a NUL. */
export const statxAt = (dirfd: number, names: Scratch, at: number, out: Stat): number =>
  stat(dirfd, names.address + at, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, out);

function stat(dirfd: number, path: number, flags: number, out: Stat): number {
  for (;;) {
    // As `attempt` does, without a function made for each of a walk's entries.
    if (libc.statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_MNT_ID, out.address) >= 0) return 0;
    const error = failure();
    if (error !== -EINTR) return error;
  }
}

const NO_NAME = Buffer.alloc(0);

/** As statx, of an open descriptor (O_PATH included). */
export const fstat = (fd: number, out: Stat): number => statx(fd, NO_NAME, out, AT_EMPTY_PATH);
