import { address, attempt, libcCall } from './libc.ts';
import { Scratch } from './scratch.ts';

/** What epoll is asked for and answers (sys/epoll.h): the same on x64 and arm64. */
export const EPOLLIN = 0x001;
export const EPOLLPRI = 0x002;
export const EPOLLONESHOT = 0x40000000;

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;

const calls = {
  epoll_create1: libcCall('epoll_create1', 'int', ['int']),
  epoll_ctl: libcCall('epoll_ctl', 'int', ['int', 'int', 'int', address]),
  epoll_wait: libcCall('epoll_wait', 'int', ['int', address, 'int', 'int']),
  eventfd: libcCall('eventfd', 'int', ['uint32_t', 'int']),
};

/** struct epoll_event is packed on x64 only. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const event = new Scratch(EVENT.bytes);

/** A descriptor, or -errno, as the next one. */
export const epollCreate = (): number => attempt(() => calls.epoll_create1(CLOEXEC));

/** A counter that makes whoever waits for it wake up once 8 bytes other than 0 were written. */
export const eventfd = (): number => attempt(() => calls.eventfd(0, CLOEXEC | NONBLOCK));

function control(epoll: number, operation: number, fd: number, events: number): number {
  event.bytes.writeUInt32LE(events >>> 0, 0);
  event.bytes.writeBigUInt64LE(BigInt(fd), EVENT.data);
  return attempt(() => calls.epoll_ctl(epoll, operation, fd, event.address));
}

/** 0 or -errno, as the next two. May be called while another thread waits. */
export const epollAdd = (epoll: number, fd: number, events: number): number =>
  control(epoll, CTL_ADD, fd, events);

/** Asks again: a descriptor with EPOLLONESHOT is told once. */
export const epollArm = (epoll: number, fd: number, events: number): number =>
  control(epoll, CTL_MOD, fd, events);

export const epollRemove = (epoll: number, fd: number): number => control(epoll, CTL_DEL, fd, 0);

const AT_ONCE = 16;
const events = new Scratch(AT_ONCE * EVENT.bytes);

/** Blocks the thread, without a limit, until one of the descriptors is ready: those that are. Throws nothing; -errno. */
export function epollWait(epoll: number): number[] | number {
  const count = attempt(() => calls.epoll_wait(epoll, events.address, AT_ONCE, -1));
  if (count < 0) return count;
  return Array.from({ length: count }, (_, i) =>
    Number(events.bytes.readBigUInt64LE(i * EVENT.bytes + EVENT.data)),
  );
}
