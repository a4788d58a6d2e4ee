import { address, attempt, libcCall } from './libc.ts';
import { first } from './scratch.ts';

/** Bits of an event and of what a watch asks for (sys/inotify.h). */
export const IN = {
  modify: 0x2,
  attrib: 0x4,
  closeWrite: 0x8,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  deleteSelf: 0x400,
  moveSelf: 0x800,
  unmount: 0x2000,
  overflow: 0x4000,
  ignored: 0x8000,
  onlyDirectory: 0x01000000,
  isDirectory: 0x40000000,
} as const;

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;

const calls = {
  inotify_init1: libcCall('inotify_init1', 'int', ['int']),
  inotify_add_watch: libcCall('inotify_add_watch', 'int', ['int', address, 'uint32_t']),
  inotify_rm_watch: libcCall('inotify_rm_watch', 'int', ['int', 'int']),
};

/** A descriptor that doesn't block; or -errno: -EMFILE past fs.inotify.max_user_instances. */
export const inotifyInit = (): number => attempt(() => calls.inotify_init1(CLOEXEC | NONBLOCK));

/**
 * Watches the directory that is open as `dirfd`, wherever its name leads by now: the watch's number, the same one
 * where the directory is watched already (whose mask is replaced). -errno: -ENOSPC past fs.inotify.max_user_watches.
 */
export function inotifyWatch(inotify: number, dirfd: number, mask: number): number {
  const path = first.put(Buffer.from(`/proc/self/fd/${dirfd}`));
  return attempt(() => calls.inotify_add_watch(inotify, path, (mask | IN.onlyDirectory) >>> 0));
}

/** 0 or -errno: -EINVAL when the watch has ended by itself. */
export const inotifyUnwatch = (inotify: number, watch: number): number =>
  attempt(() => calls.inotify_rm_watch(inotify, watch));

const HEADER_BYTES = 16;

/** Of one event; the object is used again for the next one. `name` has one char for each byte; '' for the directory itself. */
export interface InotifyEvent {
  watch: number;
  mask: number;
  name: string;
}

/** Calls `take` for each event in what was read (struct inotify_event: wd, mask, cookie, length, name). */
export function eachInotifyEvent(bytes: Buffer, end: number, take: (event: InotifyEvent) => void): void {
  const event: InotifyEvent = { watch: 0, mask: 0, name: '' };
  for (let at = 0; at + HEADER_BYTES <= end; ) {
    event.watch = bytes.readInt32LE(at);
    event.mask = bytes.readUInt32LE(at + 4);
    const length = bytes.readUInt32LE(at + 12);
    const start = at + HEADER_BYTES;
    let nameEnd = start;
    while (nameEnd < start + length && bytes[nameEnd] !== 0) nameEnd++;
    event.name = bytes.toString('latin1', start, nameEnd);
    take(event);
    at = start + length;
  }
}
