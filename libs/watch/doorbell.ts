import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { check, close, write } from '../posix/index.ts';
import {
  EPOLLIN,
  EPOLLONESHOT,
  epollAdd,
  epollArm,
  epollCreate,
  epollRemove,
  eventfd,
} from '../posix/readiness.ts';

const SCRIPT = new URL(
  import.meta.url.endsWith('.ts') ? './doorbell-worker.ts' : './doorbell-worker.js',
  import.meta.url,
);
const RING = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

interface Visitor {
  readonly events: number;
  readonly ready: () => void;
  readonly failed: () => void;
}

/**
 * Tells when descriptors that Node's own event loop doesn't take (inotify, fanotify, mountinfo) can be read. One thread
 * for all of a process, which sleeps in the kernel in between: idle costs nothing. It is there while anybody uses it.
 */
export class Doorbell {
  static #shared: Doorbell | undefined;
  readonly #epoll = check(epollCreate(), 'epoll_create1');
  readonly #stop = check(eventfd(), 'eventfd');
  readonly #visitors = new Map<number, Visitor>();
  #users = 0;
  readonly #worker: Worker;
  readonly #started: Promise<unknown>;
  readonly #ring = (): void => void write(this.#stop, RING);

  private constructor() {
    check(epollAdd(this.#epoll, this.#stop, EPOLLIN), 'epoll_ctl');
    this.#worker = new Worker(SCRIPT, {
      workerData: { epoll: this.#epoll, stop: this.#stop },
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.#started = once(this.#worker, 'message');
    this.#started.catch(() => {}); // told through `add`
    this.#worker.on('message', (ready: number[]) => {
      for (const fd of ready) this.#visitors.get(fd)?.ready();
    });
    this.#worker.on('error', () => {});
    this.#worker.on('exit', () => this.#ended());
    // The process would wait for ever for a thread that is in a system call.
    process.on('exit', this.#ring);
  }

  /** Calls `ready` once when `fd` can be read; and again after `arm`. `failed`: nothing will be told any more. */
  static async add(fd: number, visitor: Visitor): Promise<void> {
    Doorbell.#shared ??= new Doorbell();
    const bell = Doorbell.#shared;
    bell.#users++;
    try {
      await bell.#started;
      check(epollAdd(bell.#epoll, fd, visitor.events | EPOLLONESHOT), 'epoll_ctl');
    } catch (error) {
      bell.#users--;
      throw error;
    }
    bell.#visitors.set(fd, visitor);
  }

  /** Nothing happens for a descriptor that wasn't added. */
  static arm(fd: number): void {
    const bell = Doorbell.#shared;
    const visitor = bell ? bell.#visitors.get(fd) : undefined;
    if (bell && visitor) check(epollArm(bell.#epoll, fd, visitor.events | EPOLLONESHOT), 'epoll_ctl');
  }

  /** To be called before `fd` is closed. The thread ends with the last one. */
  static async remove(fd: number): Promise<void> {
    const bell = Doorbell.#shared;
    if (!bell) return;
    if (!bell.#visitors.delete(fd)) return;
    epollRemove(bell.#epoll, fd);
    if (--bell.#users > 0) return;
    Doorbell.#shared = undefined;
    const ended = once(bell.#worker, 'exit');
    bell.#ring();
    await ended;
  }

  #ended(): void {
    if (Doorbell.#shared === this) Doorbell.#shared = undefined;
    process.off('exit', this.#ring);
    close(this.#epoll);
    close(this.#stop);
    for (const { failed } of this.#visitors.values()) failed();
    this.#visitors.clear();
  }
}
