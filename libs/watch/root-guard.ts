import { AT_FDCWD, check, close, O_RDONLY, open, openDirAt, read } from '../posix/index.ts';
import { eachInotifyEvent, IN, type InotifyEvent, inotifyInit, inotifyWatch } from '../posix/inotify.ts';
import { EPOLLIN, EPOLLPRI } from '../posix/readiness.ts';
import { Doorbell } from './doorbell.ts';
import { changedMounts, MOUNTINFO } from './mounts.ts';
import type { PathKey } from './pending.ts';
import type { FinalState } from './port.ts';
import type { Root } from './root.ts';
import { startOrClose } from './start-or-close.ts';

export interface GuardEvents {
  ended(state: FinalState): void;
  /** File systems came or went at these paths below the root. */
  mountsChanged(paths: PathKey[]): void;
}

const BUFFER_BYTES = 64 * 1024;

/**
 * Notices when the root itself, or what leads to it, is deleted, moved, replaced or unmounted, and when something is
 * mounted below it. That directory and the ones above it are watched for nothing else, and the kernel tells of mounts
 * through /proc/self/mountinfo, so that it costs nothing meanwhile.
 */
export class RootGuard {
  readonly #root: Root;
  readonly #events: GuardEvents;
  readonly #inotify = check(inotifyInit(), 'inotify_init1');
  readonly #mountinfo = open(MOUNTINFO, O_RDONLY);
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #watch = -1;
  #mounts: ReturnType<Root['mounts']>;

  private constructor(root: Root, events: GuardEvents) {
    this.#root = root;
    this.#events = events;
    this.#mounts = root.mounts();
  }

  static async start(root: Root, rootFd: number, events: GuardEvents): Promise<RootGuard> {
    const guard = new RootGuard(root, events);
    return startOrClose(guard, () => guard.#start(rootFd));
  }

  async close(): Promise<void> {
    await Doorbell.remove(this.#inotify);
    await Doorbell.remove(this.#mountinfo);
    close(this.#inotify);
    close(this.#mountinfo);
  }

  async #start(rootFd: number): Promise<void> {
    const failed = (): void => this.#events.ended('failed');
    this.#watch = check(
      inotifyWatch(this.#inotify, rootFd, IN.deleteSelf | IN.moveSelf),
      'inotify_add_watch',
    );
    for (const path of ancestors(this.#root.canonical)) this.#watchAncestor(path);
    await Doorbell.add(this.#inotify, { events: EPOLLIN, ready: () => this.#drain(), failed });
    await Doorbell.add(this.#mountinfo, { events: EPOLLPRI, ready: () => this.#lookAtMounts(), failed });
    this.#lookAtMounts();
    this.#endIf(this.#root.lost());
  }

  /** One that may not be read can't be watched either: then a move of it shows at the next scan. */
  #watchAncestor(path: string): void {
    const fd = openDirAt(AT_FDCWD, Buffer.from(path, 'latin1'));
    if (fd < 0) return;
    inotifyWatch(this.#inotify, fd, IN.moveSelf);
    close(fd);
  }

  #drain(): void {
    for (;;) {
      const length = read(this.#inotify, this.#buffer);
      if (length <= 0) break;
      eachInotifyEvent(this.#buffer, length, (event) => this.#take(event));
    }
    Doorbell.arm(this.#inotify);
  }

  #take({ watch, mask }: InotifyEvent): void {
    if (watch === this.#watch && mask & IN.unmount) this.#events.ended('unmounted');
    else if (watch === this.#watch && mask & (IN.deleteSelf | IN.ignored)) this.#endIf(this.#root.deleted());
    else this.#endIf(this.#root.lost());
  }

  #endIf(state: FinalState | undefined): void {
    if (state) this.#events.ended(state);
  }

  #lookAtMounts(): void {
    Doorbell.arm(this.#mountinfo);
    let now: ReturnType<Root['mounts']>;
    try {
      now = this.#root.mounts();
    } catch {
      this.#events.ended('failed'); // out of descriptors, most likely
      return;
    }
    const changed = changedMounts(this.#mounts, now);
    this.#mounts = now;
    this.#endIf(this.#root.lost());
    if (changed.length > 0) this.#events.mountsChanged(changed);
  }
}

function ancestors(path: string): string[] {
  const names = path.split('/').slice(1, -1);
  return names.map((_, i) => `/${names.slice(0, i + 1).join('/')}`);
}
