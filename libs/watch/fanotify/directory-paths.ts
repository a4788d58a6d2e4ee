import { fsidOf, openByHandle } from '../../posix/fanotify.ts';
import {
  AT_FDCWD,
  close,
  ENOENT,
  ESTALE,
  fstat,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openat,
  readlinkat,
  Stat,
} from '../../posix/index.ts';
import type { PathKey } from '../pending.ts';
import type { Root } from '../root.ts';

/** `nowhere`: outside of the root, or gone. `unknown`: there, and its path is too long to be told. */
export type Place = { readonly path: PathKey } | 'nowhere' | 'unknown';

/** Directories whose paths are kept: the ones where something happens, not all there are. */
const MAX_KNOWN = 20_000;

/**
 * Where the directories are that events name by file handle. A path is what /proc says of the opened handle, so it is
 * that of the present; it is kept until any directory of the file system was renamed.
 */
export class DirectoryPaths {
  readonly #root: Root;
  readonly #known = new Map<string, Place>();
  /** Absolute paths of mounted file systems, by their number. */
  readonly #mounts = new Map<string, Buffer>();
  readonly #stat = new Stat();

  constructor(root: Root) {
    this.#root = root;
  }

  /** Handles of the file system that `fd` is on will be looked up where it is mounted: `path`. */
  mounted(fd: number, path: Buffer): void {
    const fsid = fsidOf(fd);
    if (typeof fsid === 'string' && !this.#mounts.has(fsid)) this.#mounts.set(fsid, path);
  }

  forgetMounts(): void {
    this.#mounts.clear();
    this.#known.clear();
  }

  /** Directories have moved. */
  forget(): void {
    this.#known.clear();
  }

  /** A directory of the file system, to be closed by the caller; or -errno. */
  openMount(fsid: string): number {
    const mount = this.#mounts.get(fsid);
    return mount ? openat(AT_FDCWD, mount, O_RDONLY | O_DIRECTORY) : -ENOENT;
  }

  place(fsid: string, handle: string): Place {
    const key = fsid + handle;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const place = this.#lookUp(fsid, handle);
    if (place === 'unknown') return place; // it may be known next time
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, place);
    return place;
  }

  #lookUp(fsid: string, handle: string): Place {
    const mountFd = this.openMount(fsid);
    if (mountFd < 0) return mountFd === -ENOENT ? 'nowhere' : 'unknown';
    const fd = openByHandle(mountFd, handle, O_PATH);
    close(mountFd);
    if (fd < 0) return fd === -ESTALE || fd === -ENOENT ? 'nowhere' : 'unknown';
    try {
      const isThere = fstat(fd, this.#stat) === 0 && this.#stat.nlink > 0;
      if (!isThere) return 'nowhere';
      const path = readlinkat(AT_FDCWD, Buffer.from(`/proc/self/fd/${fd}`));
      return typeof path === 'number' ? 'unknown' : this.#below(path.toString('latin1'));
    } finally {
      close(fd);
    }
  }

  #below(path: string): Place {
    const { canonical } = this.#root;
    if (path === canonical) return { path: '' };
    const prefix = canonical === '/' ? '/' : `${canonical}/`;
    return path.startsWith(prefix) ? { path: path.slice(prefix.length).replaceAll('/', '\0') } : 'nowhere';
  }
}
