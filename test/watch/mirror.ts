import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { toSlashes } from '../../libs/model/tree-path.ts';
import type { WatchBatch } from '../../libs/watch/port.ts';

interface Seen {
  readonly isDirectory: boolean;
  readonly isFile: boolean;
  /** On the one file system that the tree lies on. */
  readonly inode: string;
  /** What a backup compares: not the ctime and number of names, which change with a name outside of the root. */
  readonly fingerprint: string;
}

/**
 * What is known of a tree by looking where a source says, and nowhere else: one that misses a change leaves it
 * different from the tree for good. Paths are relative, with slashes, one char for each byte.
 */
export class Mirror {
  readonly #root: string;
  readonly #entries = new Map<string, Seen>();
  readonly #names = new Map<string, Set<string>>();
  looked = 0;

  /** As the tree is now: the source has to have started. */
  constructor(root: string) {
    this.#root = root;
    this.#lookBelow('');
  }

  get size(): number {
    return this.#entries.size;
  }

  get directories(): string[] {
    return [...this.#entries].filter(([, { isDirectory }]) => isDirectory).map(([path]) => path);
  }

  get files(): string[] {
    return [...this.#entries].filter(([, { isFile }]) => isFile).map(([path]) => path);
  }

  fingerprints(): Map<string, string> {
    return new Map([...this.#entries].map(([path, { fingerprint }]) => [path, fingerprint] as const).sort());
  }

  take({ entries, subtrees }: WatchBatch): void {
    for (const { path, listing, shared } of entries) {
      const name = toSlashes(path).toString('latin1');
      this.#look(name);
      for (const { ino } of shared ?? []) this.#lookAtNames(`${ino}`);
      if (listing) this.#list(name);
    }
    for (const { path } of subtrees) {
      const top = toSlashes(path).toString('latin1');
      this.#forgetBelow(top);
      this.#lookBelow(top);
    }
  }

  #look(path: string): void {
    const before = this.#entries.get(path);
    this.#lookAt(path);
    const now = this.#entries.get(path);
    if (!now?.isDirectory) this.#forgetBelow(path);
    for (const seen of [before, now]) {
      if (!seen || seen.isDirectory) continue;
      this.#lookAtNames(seen.inode);
    }
  }

  #lookAtNames(inode: string): void {
    for (const name of [...(this.#names.get(inode) ?? [])]) this.#lookAt(name);
  }

  #lookAt(path: string): void {
    this.looked++;
    this.#forget(path);
    const stat = this.#stat(path);
    if (!stat) return;
    const { mode, size, mtimeNs, ino } = stat;
    const isDirectory = stat.isDirectory();
    const inode = `${ino}`;
    const fingerprint = [mode, size, mtimeNs, inode].join(' ');
    this.#entries.set(path, { isDirectory, isFile: stat.isFile(), inode, fingerprint });
    if (!this.#names.has(inode)) this.#names.set(inode, new Set());
    this.#names.get(inode)!.add(path);
  }

  #lookBelow(path: string): void {
    this.#lookAt(path);
    if (!this.#entries.get(path)?.isDirectory) return;
    for (const name of this.#namesIn(path)) this.#lookBelow(name);
  }

  /** Names that are not there are gone; those that are new are looked at with all below. */
  #list(path: string): void {
    const names = new Set(this.#entries.get(path)?.isDirectory ? this.#namesIn(path) : []);
    const isChild = (name: string): boolean =>
      name !== '' && name.slice(0, Math.max(0, name.lastIndexOf('/'))) === path;
    for (const name of [...this.#entries.keys()].filter(isChild))
      if (!names.has(name)) {
        this.#forgetBelow(name);
        this.#forget(name);
      }
    for (const name of names) if (!this.#entries.has(name)) this.#lookBelow(name);
  }

  #namesIn(path: string): string[] {
    try {
      const names = readdirSync(this.#bytes(path), { encoding: 'buffer' });
      return names.map((name) => join(path, name.toString('latin1')));
    } catch (error) {
      if (!isGone(error)) throw error;
      return [];
    }
  }

  #forgetBelow(path: string): void {
    const prefix = path === '' ? '' : `${path}/`;
    for (const name of [...this.#entries.keys()])
      if (name.startsWith(prefix) && name !== path) this.#forget(name);
  }

  #forget(path: string): void {
    const seen = this.#entries.get(path);
    if (seen) this.#names.get(seen.inode)?.delete(path);
    this.#entries.delete(path);
  }

  /** Never through a symlink: what is there then is somewhere else. */
  #stat(path: string): BigIntStats | undefined {
    try {
      for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1))
        if (!lstatSync(this.#bytes(path.slice(0, at))).isDirectory()) return undefined;
      return lstatSync(this.#bytes(path), { bigint: true });
    } catch (error) {
      if (!isGone(error)) throw error;
      return undefined;
    }
  }

  #bytes(path: string): Buffer {
    return Buffer.from(path === '' ? this.#root : `${this.#root}/${path}`, 'latin1');
  }
}

const join = (dir: string, name: string): string => (dir === '' ? name : `${dir}/${name}`);

const isGone = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '');
