import { type TreePath, toSlashes } from '../../model/tree-path.ts';
import { openByHandle } from '../../posix/fanotify.ts';
import { close, fstat, O_PATH, S_IFDIR, Stat, statx } from '../../posix/index.ts';
import { fromKey, type PathKey, toKey } from '../pending.ts';
import type { DirtyEntry, SharedInode } from '../port.ts';
import type { Root } from '../root.ts';

/** A handle with the number of its file system before it. */
type FileKey = string;
interface Lost {
  readonly path: PathKey;
  readonly inode: SharedInode;
}

const FSID_BYTES = 8;
const MAX_FILES = 100_000;

/**
 * Whose names the paths of events were: a file that was written through a name which is gone, or another file's by now,
 * may live on under names of which no event tells.
 */
export class FormerInodes {
  readonly #root: Root;
  readonly #openMount: (fsid: string) => number;
  readonly #stat = new Stat();
  /** By path the file that had it; those that lost it to another one. */
  #last = new Map<PathKey, FileKey>();
  #replaced = new Map<FileKey, PathKey>();

  /** `openMount`: a directory of a file system, which is closed here; or -errno. */
  constructor(root: Root, openMount: (fsid: string) => number) {
    this.#root = root;
    this.#openMount = openMount;
  }

  /** An event named the file by this path. */
  had(path: PathKey, fsid: string, handle: string): void {
    const file = fsid + handle;
    const before = this.#last.get(path);
    if (before === file) return;
    if (before !== undefined) this.#replaced.set(before, path);
    this.#last.set(path, file);
  }

  /** More files than may gather while nobody takes them: what is forgotten now is as good as lost. */
  get isFull(): boolean {
    return this.#last.size + this.#replaced.size > MAX_FILES;
  }

  forget(): void {
    this.#last = new Map();
    this.#replaced = new Map();
  }

  /** The entries with the files that had their names and live on under others; forgets all. */
  addTo(entries: readonly DirtyEntry[]): readonly DirtyEntry[] {
    const lost = Map.groupBy(this.#take(), ({ path }) => path);
    if (lost.size === 0) return entries;
    return entries.map((entry) => {
      const files = lost.get(toKey(entry.path))?.map(({ inode }) => inode);
      return files ? { ...entry, shared: [...(entry.shared ?? []), ...files] } : entry;
    });
  }

  #take(): Lost[] {
    const gone = new Map(this.#replaced);
    const root = this.#root.open();
    for (const [path, file] of this.#last) if (!this.#isThere(root, fromKey(path))) gone.set(file, path);
    if (root >= 0) close(root);
    this.forget();
    return [...this.#alive(gone)];
  }

  #isThere(root: number, path: TreePath): boolean {
    return root >= 0 && statx(root, toSlashes(path), this.#stat) === 0;
  }

  *#alive(files: ReadonlyMap<FileKey, PathKey>): Generator<Lost> {
    const byMount = Map.groupBy(files, ([file]) => file.slice(0, FSID_BYTES));
    for (const [fsid, members] of byMount) {
      const mount = this.#openMount(fsid);
      if (mount < 0) continue;
      for (const [file, path] of members) {
        const inode = this.#inodeOf(mount, file.slice(FSID_BYTES));
        if (inode) yield { path, inode };
      }
      close(mount);
    }
  }

  #inodeOf(mount: number, handle: string): SharedInode | undefined {
    const fd = openByHandle(mount, handle, O_PATH);
    if (fd < 0) return undefined;
    const stat = this.#stat;
    const isAlive = fstat(fd, stat) === 0 && stat.nlink > 0 && stat.type !== S_IFDIR;
    close(fd);
    return isAlive ? { dev: stat.dev, ino: stat.ino } : undefined;
  }
}
