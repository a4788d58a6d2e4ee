import {
  eachFanotifyEvent,
  FAN,
  type FanotifyEvent,
  fanotifyInit,
  fanotifyMarkFileSystem,
} from '../../posix/fanotify.ts';
import { AT_FDCWD, check, close, EAGAIN, openDirAt, read } from '../../posix/index.ts';
import { EPOLLIN } from '../../posix/readiness.ts';
import { Doorbell } from '../doorbell.ts';
import { Excluded } from '../excluded.ts';
import { isView, type Mount } from '../mounts.ts';
import { joinKey, type PathKey, Pending } from '../pending.ts';
import type { EventSource, FinalState, WatchBatch, WatchOptions } from '../port.ts';
import { Root } from '../root.ts';
import { RootGuard } from '../root-guard.ts';
import { startOrClose } from '../start-or-close.ts';
import { DirectoryPaths } from './directory-paths.ts';
import { FormerInodes } from './former-inodes.ts';

const BUFFER_BYTES = 256 * 1024;
/** Buffers that are read before others get their turn in this process. */
const READS_AT_ONCE = 8;

const NAME_CHANGES = FAN.create | FAN.delete | FAN.movedFrom | FAN.movedTo;
const MOVES = FAN.movedFrom | FAN.movedTo;
const MASK = FAN.modify | FAN.attrib | FAN.closeWrite | NAME_CHANGES | FAN.onDirectory;

/**
 * Watches whole file systems with one mark each, whatever is made in them: for root. Events of the whole file system come
 * in, also from outside of the root, and cost a look into a map each.
 */
export class FanotifySource implements EventSource {
  readonly kind = 'fanotify';
  readonly #root: Root;
  readonly #pending: Pending;
  readonly #excluded: Excluded;
  readonly #paths: DirectoryPaths;
  readonly #inodes: FormerInodes;
  readonly #fanotify = check(fanotifyInit(), 'fanotify_init');
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #guard: RootGuard | undefined;
  #turn: NodeJS.Immediate | undefined;
  #closing: Promise<void> | undefined;
  /** Nothing is left to be read, or the source has ended. */
  readonly #whenIdle: (() => void)[] = [];

  private constructor(options: WatchOptions) {
    try {
      this.#root = new Root(options);
      this.#pending = new Pending(this.#root, options.maxPending);
      this.#excluded = new Excluded(options.excluded);
      this.#paths = new DirectoryPaths(this.#root);
      this.#inodes = new FormerInodes(this.#root, (fsid) => this.#paths.openMount(fsid));
      check(fanotifyMarkFileSystem(this.#fanotify, MASK, options.rootFd), 'fanotify_mark', options.rootPath);
      this.#markMounts(this.#root.mounts());
    } catch (error) {
      close(this.#fanotify);
      throw error;
    }
  }

  /** Throws PosixError where the system or the file system of the root doesn't do it. */
  static async start(options: WatchOptions): Promise<FanotifySource> {
    const source = new FanotifySource(options);
    return startOrClose(source, () => source.#start(options.rootFd));
  }

  async next(): Promise<WatchBatch | undefined> {
    const batch = await this.#pending.next();
    return batch && { ...batch, entries: this.#inodes.addTo(batch.entries) };
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
    await Doorbell.add(this.#fanotify, {
      events: EPOLLIN,
      ready: () => this.#work(),
      failed: () => this.#end('failed'),
    });
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
    await this.#guard?.close();
    await Doorbell.remove(this.#fanotify);
    close(this.#fanotify);
  }

  #work(): void {
    if (this.#turn) clearImmediate(this.#turn);
    this.#turn = undefined;
    if (this.#pending.hasEnded) return;
    const isEmpty = this.#read();
    this.#pending.flush();
    if (!isEmpty) {
      this.#turn = setImmediate(() => this.#work());
      return;
    }
    this.#tellIdle();
    Doorbell.arm(this.#fanotify);
  }

  /** True when nothing more can be read. */
  #read(): boolean {
    for (let i = 0; i < READS_AT_ONCE; i++) {
      const length = read(this.#fanotify, this.#buffer);
      if (length === -EAGAIN) return true;
      eachFanotifyEvent(this.#buffer, check(length, 'read'), (event) => this.#take(event));
    }
    return false;
  }

  #take({ mask, fsid, handle, name, target }: FanotifyEvent): void {
    if (mask & FAN.overflow) {
      this.#paths.forget();
      this.#overflow();
      return;
    }
    const isDirectory = (mask & FAN.onDirectory) !== 0;
    const isMove = isDirectory && (mask & MOVES) !== 0;
    if (isMove) this.#paths.forget();
    const place = this.#paths.place(fsid, handle);
    if (place === 'unknown') this.#overflow();
    if (typeof place === 'string' || this.#excluded.has(place.path)) return;
    const { path } = place;
    const entry = name === '.' || name === '' ? path : joinKey(path, name);
    if (this.#excluded.isTop(entry)) return;
    this.#pending.entry(entry);
    if (!isDirectory && target !== '') this.#inodes.had(entry, fsid, target);
    if (this.#inodes.isFull) this.#overflow();
    if (mask & NAME_CHANGES) this.#pending.entry(path);
    // A new one may have the name of one that went: what was known below isn't there any more.
    if (isDirectory && mask & FAN.create) this.#pending.subtree(entry, 'new');
    if (isDirectory && mask & FAN.movedTo) this.#pending.subtree(entry, 'moved');
  }

  #overflow(): void {
    this.#inodes.forget();
    this.#pending.overflow();
  }

  #mountsChanged(paths: readonly PathKey[]): void {
    this.#pending.state('mount-changed');
    this.#markMounts(this.#root.mounts());
    for (const path of paths) this.#pending.subtree(path, 'new');
    this.#pending.flush();
  }

  /** The root's file system comes first: it may be mounted below it once more. */
  #markMounts(mounts: ReadonlyMap<PathKey, Mount>): void {
    this.#paths.forgetMounts();
    this.#mark(this.#root.canonical);
    for (const mount of mounts.values()) if (!isView(mount)) this.#mark(mount.point);
  }

  #mark(point: string): void {
    const path = Buffer.from(point, 'latin1');
    const fd = openDirAt(AT_FDCWD, path);
    if (fd < 0) return; // a file, or gone again
    if (fanotifyMarkFileSystem(this.#fanotify, MASK, fd) < 0) this.#pending.state('watch-limit');
    this.#paths.mounted(fd, path);
    close(fd);
  }
}
