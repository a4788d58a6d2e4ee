import { EINVAL, EPERM } from './errno.ts';
import { address, attempt, libc, libcCall } from './libc.ts';
import { close } from './open.ts';
import { first, Scratch } from './scratch.ts';

/** Bits of an event and of what a mark asks for (linux/fanotify.h). */
export const FAN = {
  modify: 0x2,
  attrib: 0x4,
  closeWrite: 0x8,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  overflow: 0x4000,
  onDirectory: 0x40000000,
} as const;

const CLOEXEC = 0x1;
const NONBLOCK = 0x2;
const REPORT_FID = 0x200;
const REPORT_DIR_FID = 0x400;
const REPORT_NAME = 0x800;
const REPORT_TARGET_FID = 0x1000;
const MARK_ADD = 0x1;
const MARK_FILESYSTEM = 0x100;
const INFO_FID = 1;
const INFO_DIR_FID_NAME = 2;

const calls = {
  fanotify_init: libcCall('fanotify_init', 'int', ['uint32_t', 'uint32_t']),
  fanotify_mark: libcCall('fanotify_mark', 'int', ['int', 'uint32_t', 'uint64_t', 'int', address]),
  open_by_handle_at: libcCall('open_by_handle_at', 'int', ['int', address, 'int']),
};

/**
 * A descriptor that doesn't block and tells of names in directories, since Linux 5.17 also whose they are; or -errno:
 * -EPERM without CAP_SYS_ADMIN, -EINVAL before Linux 5.9.
 */
export function fanotifyInit(): number {
  const names = CLOEXEC | NONBLOCK | REPORT_DIR_FID | REPORT_NAME;
  const fd = attempt(() => calls.fanotify_init(names | REPORT_FID | REPORT_TARGET_FID, 0));
  return fd === -EINVAL ? attempt(() => calls.fanotify_init(names, 0)) : fd;
}

/** Asks for events of the whole file system that `fd` is on. -errno: -EXDEV, -ENODEV, -EOPNOTSUPP where it can't be. */
export const fanotifyMarkFileSystem = (fanotify: number, mask: number, fd: number): number =>
  attempt(() =>
    calls.fanotify_mark(
      fanotify,
      MARK_ADD | MARK_FILESYSTEM,
      mask,
      fd,
      first.put(Buffer.from(`/proc/self/fd/${fd}`)),
    ),
  );

const METADATA_BYTES = 24;
const FID_HEADER_BYTES = 12;
const HANDLE_HEADER_BYTES = 8;

/** Of one event; the object is used again for the next one. One char for each byte in all strings. */
export interface FanotifyEvent {
  mask: number;
  /** Of the file system: its number as statfs tells it; '' in an overflow. */
  fsid: string;
  /** The directory: struct file_handle, for `openByHandle`. */
  handle: string;
  /** Of the entry in it; '.' for the directory itself. */
  name: string;
  /** Of what has or had the name, as `handle`; '' where the system doesn't tell. */
  target: string;
}

/**
 * Calls `take` for each event in what was read: struct fanotify_event_metadata (length u32, version, reserved, metadata
 * length u16, mask u64, fd, pid), then the records of information (type, padding, length u16; fsid, struct file_handle,
 * name with NUL).
 */
export function eachFanotifyEvent(bytes: Buffer, end: number, take: (event: FanotifyEvent) => void): void {
  const event: FanotifyEvent = { mask: 0, fsid: '', handle: '', name: '', target: '' };
  for (let at = 0; at + METADATA_BYTES <= end; ) {
    const next = at + bytes.readUInt32LE(at);
    event.mask = bytes.readUInt32LE(at + 8);
    event.fsid = event.handle = event.name = event.target = '';
    for (let info = at + bytes.readUInt16LE(at + 6); info + FID_HEADER_BYTES <= next; ) {
      if (bytes[info] === INFO_DIR_FID_NAME) readName(bytes, info, event);
      else if (bytes[info] === INFO_FID) event.target = handleIn(bytes, info + FID_HEADER_BYTES);
      info += bytes.readUInt16LE(info + 2);
    }
    take(event);
    at = next;
  }
}

const handleIn = (bytes: Buffer, at: number): string =>
  bytes.toString('latin1', at, at + HANDLE_HEADER_BYTES + bytes.readUInt32LE(at));

function readName(bytes: Buffer, info: number, event: FanotifyEvent): void {
  const handle = info + FID_HEADER_BYTES;
  event.fsid = bytes.toString('latin1', info + 4, handle);
  event.handle = handleIn(bytes, handle);
  const name = handle + event.handle.length;
  event.name = bytes.toString('latin1', name, bytes.indexOf(0, name));
}

const MAX_HANDLE_BYTES = HANDLE_HEADER_BYTES + 128;
const handleScratch = new Scratch(MAX_HANDLE_BYTES);

/** Opens what a handle stands for, on the file system that `mountFd` is on; -errno: -ESTALE when it is gone. */
export function openByHandle(mountFd: number, handle: string, flags: number): number {
  handleScratch.bytes.write(handle, 'latin1');
  return attempt(() => calls.open_by_handle_at(mountFd, handleScratch.address, flags | 0o2000000));
}

/** 8 bytes of type 1, which stand for nothing. */
const NO_HANDLE = '\x08\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0';

/** 0, or -EPERM where handles can't be opened: without CAP_DAC_READ_SEARCH. */
export function mayOpenHandles(mountFd: number, flags: number): number {
  const fd = openByHandle(mountFd, NO_HANDLE, flags);
  if (fd >= 0) close(fd);
  return fd === -EPERM ? fd : 0;
}

const statfs = new Scratch(256);

/** The number of the file system that `fd` is on, as in FanotifyEvent; or -errno. */
export function fsidOf(fd: number): string | number {
  const error = attempt(() => libc.fstatfs(fd, statfs.address));
  // struct statfs: type, block size, blocks, free, available, files, free files (8 bytes each), fsid.
  return error < 0 ? error : statfs.bytes.toString('latin1', 56, 64);
}
