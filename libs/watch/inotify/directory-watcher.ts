import {
  check,
  close,
  DirReader,
  DT_DIR,
  DT_UNKNOWN,
  EMFILE,
  ENFILE,
  ENOMEM,
  ENOSPC,
  openDirAt,
  PosixError,
} from '../../posix/index.ts';
import { IN, inotifyUnwatch, inotifyWatch } from '../../posix/inotify.ts';
import type { Excluded } from '../excluded.ts';
import { isView } from '../mounts.ts';
import { joinKey, type PathKey } from '../pending.ts';
import type { Root } from '../root.ts';
import { type Attached, type Watched, WatchTree } from './watch-tree.ts';

const CHANGES = IN.modify | IN.attrib | IN.closeWrite;
const NAMES = IN.create | IN.delete | IN.movedFrom | IN.movedTo;
const MASK = CHANGES | NAMES;

/** Out of watches, memory or descriptors: from then on not everything is watched. */
const EXHAUSTED: ReadonlySet<number> = new Set([-ENOSPC, -ENOMEM, -EMFILE, -ENFILE]);

/**
 * Sets watches and keeps the tree true. Events lag behind what is on the disk, so that a path which they lead to may be
 * another directory's by now. Therefore a directory counts as what its watch says it is (the kernel gives one inode
 * one number), never as what the path says.
 */
export class DirectoryWatcher {
  readonly tree: WatchTree;
  readonly #inotify: number;
  readonly #root: Root;
  readonly #excluded: Excluded;
  readonly #exhausted: () => void;
  readonly #reader = new DirReader(-1);
  #views: ReadonlySet<PathKey> = new Set();

  /** `exhausted` is told of each directory that could not be watched for want of anything. Throws PosixError. */
  constructor(inotify: number, root: Root, rootFd: number, excluded: Excluded, exhausted: () => void) {
    this.#inotify = inotify;
    this.#root = root;
    this.#excluded = excluded;
    this.#exhausted = exhausted;
    this.tree = new WatchTree(check(inotifyWatch(inotify, rootFd, MASK), 'inotify_add_watch'));
    this.lookAtMounts();
  }

  lookAtMounts(): void {
    const mounts = Array.from(this.#root.mounts());
    this.#views = new Set(mounts.filter(([, mount]) => isView(mount)).map(([path]) => path));
  }

  /** Looks at one name in a watched directory: what there is now is watched at this place. */
  look(parent: Watched, name: string): { directory: Watched; was: Attached } | undefined {
    const fd = this.#open(parent);
    if (fd < 0) return undefined;
    try {
      const found = this.#watch(fd, parent, name);
      const known = parent.children?.get(name);
      if (!found && known) this.tree.detach(known);
      return found;
    } finally {
      close(fd);
    }
  }

  /** Lists a watched directory and watches the directories in it: these. */
  list(directory: Watched): Watched[] {
    const fd = this.#open(directory);
    if (fd < 0) return [];
    try {
      const names = this.#directoryNames(fd);
      if (!names) return [];
      for (const [name, child] of directory.children ?? []) if (!names.has(name)) this.tree.detach(child);
      return Array.from(names, (name) => this.#watch(fd, directory, name)?.directory).filter((one) => !!one);
    } finally {
      close(fd);
    }
  }

  /** Ends the watches of what left its place for good. */
  sweep(): void {
    for (const watch of this.tree.takeAstray()) inotifyUnwatch(this.#inotify, watch);
  }

  #watch(dirfd: number, parent: Watched, name: string): { directory: Watched; was: Attached } | undefined {
    const path = this.tree.path(parent);
    if (path === undefined || this.isLeftOut(joinKey(path, name))) return undefined;
    const fd = openDirAt(dirfd, Buffer.from(name, 'latin1'));
    if (fd < 0) return void this.#failed(fd);
    const watch = inotifyWatch(this.#inotify, fd, MASK);
    close(fd);
    if (watch < 0) return void this.#failed(watch);
    return this.tree.attach(parent, name, watch);
  }

  isLeftOut(path: PathKey): boolean {
    return this.#excluded.isTop(path) || this.#views.has(path);
  }

  /** The directory, where it still is at its place in the tree; negative otherwise. Then events to come will tell. */
  #open(directory: Watched): number {
    const path = this.tree.path(directory);
    if (path === undefined) return -1;
    const fd = this.#root.openBelow(path);
    if (fd < 0) {
      this.#failed(fd);
      return fd;
    }
    const watch = inotifyWatch(this.#inotify, fd, MASK);
    if (watch === directory.watch) return fd;
    close(fd);
    if (watch < 0) this.#failed(watch);
    else if (!this.tree.get(watch)) inotifyUnwatch(this.#inotify, watch);
    return -1;
  }

  #failed(error: number): void {
    if (EXHAUSTED.has(error)) this.#exhausted();
  }

  #directoryNames(fd: number): Set<string> | undefined {
    const names = new Set<string>();
    try {
      this.#reader.reset(fd);
      while (this.#reader.next()) {
        const { type } = this.#reader;
        if (type === DT_DIR || type === DT_UNKNOWN) names.add(this.#reader.name.toString('latin1'));
      }
      return names;
    } catch (error) {
      if (!(error instanceof PosixError)) throw error;
      return undefined;
    }
  }
}
