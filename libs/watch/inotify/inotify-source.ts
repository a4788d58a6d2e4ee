import { check, close, EAGAIN, read } from '../../posix/index.ts';
import { eachInotifyEvent, IN, type InotifyEvent, inotifyInit } from '../../posix/inotify.ts';
import { EPOLLIN } from '../../posix/readiness.ts';
import { Doorbell } from '../doorbell.ts';
import { Excluded } from '../excluded.ts';
import { joinKey, type PathKey, Pending, splitKey } from '../pending.ts';
import type { DirtySubtree, EventSource, FinalState, WatchBatch, WatchOptions } from '../port.ts';
import { Root } from '../root.ts';
import { RootGuard } from '../root-guard.ts';
import { startOrClose } from '../start-or-close.ts';
import { DirectoryWatcher } from './directory-watcher.ts';
import type { Watched } from './watch-tree.ts';

const BUFFER_BYTES = 64 * 1024;
/** Buffers that are read, and milliseconds that are walked, before others get their turn in this process. */
const READS_AT_ONCE = 16;
const WALK_MS = 20;
/** What left its place is expected to turn up at another one within this time; else it is watched no more. */
const ASTRAY_MS = 1000;

const NAME_CHANGES = IN.create | IN.delete | IN.movedFrom | IN.movedTo;

/** A directory to be walked, so that everything below it is watched; then it is dirty for this reason. */
interface Walk {
  readonly top: Watched;
  readonly reason: DirtySubtree['reason'] | undefined;
  readonly waiting: Watched[];
}

/** Watches each directory below the root with inotify: needs no privileges, and about 1 KB of the kernel's memory each. */
export class InotifySource implements EventSource {
  readonly kind = 'inotify';
  readonly #root: Root;
  readonly #pending: Pending;
  readonly #inotify = check(inotifyInit(), 'inotify_init1');
  readonly #watcher: DirectoryWatcher;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  readonly #walks: Walk[] = [];
  #guard: RootGuard | undefined;
  #overflowed = false;
  #isExhausted = false;
  #sweeper: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  #closing: Promise<void> | undefined;
  /** Nothing is left to be read or walked, or the source has ended. */
  readonly #whenIdle: (() => void)[] = [];

  private constructor(options: WatchOptions) {
    this.#root = new Root(options);
    this.#pending = new Pending(this.#root, options.maxPending);
    const excluded = new Excluded(options.excluded);
    try {
      this.#watcher = new DirectoryWatcher(this.#inotify, this.#root, options.rootFd, excluded, () =>
        this.#exhausted(),
      );
    } catch (error) {
      close(this.#inotify);
      throw error;
    }
  }

  /** Throws PosixError where the root can't be watched: ENOSPC and EMFILE are the limits of fs.inotify. */
  static async start(options: WatchOptions): Promise<InotifySource> {
    const source = new InotifySource(options);
    return startOrClose(source, () => source.#start(options.rootFd));
  }

  /** Directories that are watched. */
  get watches(): number {
    return this.#watcher.tree.size;
  }

  next(): Promise<WatchBatch | undefined> {
    return this.#pending.next();
  }

  /** The kernel queues an event before the call that causes it returns. */
  sync(): Promise<void> {
    if (this.#pending.hasEnded) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenIdle.push(resolve);
    this.#work();
    return promise;
  }

  close(): Promise<void> {
    this.#pending.end('closed');
    this.#closing ??= this.#release();
    return this.#closing;
  }

  async #start(rootFd: number): Promise<void> {
    this.#guard = await RootGuard.start(this.#root, rootFd, {
      ended: (state) => this.#end(state),
      mountsChanged: (paths) => this.#mountsChanged(paths),
    });
    const watched = new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    this.#walk(this.#watcher.tree.root, undefined);
    await Doorbell.add(this.#inotify, {
      events: EPOLLIN,
      ready: () => this.#work(),
      failed: () => this.#end('failed'),
    });
    await watched;
  }

  #end(state: FinalState): void {
    this.#pending.end(state);
    this.#closing ??= this.#release();
  }

  #tellIdle(): void {
    for (const tell of this.#whenIdle.splice(0)) tell();
  }

  async #release(): Promise<void> {
    this.#tellIdle();
    if (this.#turn) clearImmediate(this.#turn);
    clearTimeout(this.#sweeper);
    await this.#guard?.close();
    await Doorbell.remove(this.#inotify);
    close(this.#inotify);
  }

  /** One turn: takes in what is there, walks for a while, and comes back until nothing is left to do. */
  #work(): void {
    if (this.#turn) clearImmediate(this.#turn);
    this.#turn = undefined;
    if (this.#pending.hasEnded) return;
    const isEmpty = this.#read();
    this.#runWalks();
    if (this.#overflowed && this.#walks.length === 0) {
      this.#overflowed = false;
      this.#walk(this.#watcher.tree.root, 'lost');
    }
    this.#pending.flush();
    if (!isEmpty || this.#walks.length > 0) {
      this.#turn ??= setImmediate(() => this.#work());
      return;
    }
    this.#tellIdle();
    if (this.#watcher.tree.hasAstray) this.#sweepLater();
    Doorbell.arm(this.#inotify);
  }

  /** True when nothing more can be read. */
  #read(): boolean {
    for (let i = 0; i < READS_AT_ONCE; i++) {
      const length = read(this.#inotify, this.#buffer);
      if (length === -EAGAIN) return true;
      eachInotifyEvent(this.#buffer, check(length, 'read'), (event) => this.#take(event));
    }
    return false;
  }

  #take({ watch, mask, name }: InotifyEvent): void {
    if (mask & IN.overflow) this.#overflowed = true;
    const { tree } = this.#watcher;
    const directory = tree.get(watch);
    if (!directory) return;
    const path = tree.path(directory);
    if (mask & IN.ignored && directory !== tree.root) tree.forget(directory);
    if (path === undefined || mask & (IN.ignored | IN.unmount)) return;
    const entry = name === '' ? path : joinKey(path, name);
    if (this.#watcher.isLeftOut(entry)) return;
    this.#pending.entry(entry);
    if (mask & NAME_CHANGES) this.#pending.entry(path);
    if (mask & IN.isDirectory) this.#directoryChanged(directory, name, mask);
  }

  #directoryChanged(parent: Watched, name: string, mask: number): void {
    const isName = (mask & NAME_CHANGES) !== 0;
    // Its rights may have changed: one that couldn't be opened before may be now.
    if (!isName && parent.children?.has(name)) return;
    const found = this.#watcher.look(parent, name);
    if (!found) return;
    if (found.was === 'elsewhere' || mask & IN.movedTo) this.#walk(found.directory, 'moved');
    else if (found.was === 'new') this.#walk(found.directory, 'new');
  }

  #walk(top: Watched, reason: Walk['reason']): void {
    this.#walks.push({ top, reason, waiting: [top] });
    this.#turn ??= setImmediate(() => this.#work());
  }

  #runWalks(): void {
    const end = performance.now() + WALK_MS;
    for (let walk = this.#walks[0]; walk && performance.now() < end; walk = this.#walks[0]) {
      const next = walk.waiting.pop();
      if (next) {
        for (const child of this.#watcher.list(next)) walk.waiting.push(child);
      } else {
        this.#walks.shift();
        this.#walked(walk);
      }
    }
  }

  /** Told only now that all of it is watched: who looks from here on misses nothing. */
  #walked({ top, reason }: Walk): void {
    const path = this.#watcher.tree.path(top);
    if (reason === undefined || path === undefined) return;
    if (reason === 'lost') this.#pending.overflow();
    else this.#pending.subtree(path, reason);
  }

  #mountsChanged(paths: readonly PathKey[]): void {
    this.#pending.state('mount-changed');
    this.#watcher.lookAtMounts();
    for (const path of paths) {
      const [parentPath, name] = splitKey(path);
      const parent = this.#watcher.tree.find(parentPath);
      const found = parent && this.#watcher.look(parent, name);
      if (found) this.#walk(found.directory, 'new');
      else this.#pending.subtree(path, 'new');
    }
    this.#pending.flush();
  }

  #exhausted(): void {
    if (this.#isExhausted) return;
    this.#isExhausted = true;
    this.#pending.state('watch-limit');
  }

  #sweepLater(): void {
    this.#sweeper ??= setTimeout(() => {
      this.#sweeper = undefined;
      this.#watcher.sweep();
    }, ASTRAY_MS);
  }
}
