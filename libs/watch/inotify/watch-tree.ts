import { joinKey, type PathKey } from '../pending.ts';

/** A watched directory: who tells of it, and where it is as far as the events that were read say. */
export interface Watched {
  readonly watch: number;
  name: string;
  /** Undefined for the root, and for one that left its place and was not seen again. */
  parent: Watched | undefined;
  children: Map<string, Watched> | undefined;
}

export type Attached = 'new' | 'here' | 'elsewhere';

/** The watched directories of a root by the number of their watch and by place. Some 200 bytes each. */
export class WatchTree {
  readonly #byWatch = new Map<number, Watched>();
  /** Left their place: moved out of the root, deleted, or on the way to another place. */
  readonly #astray = new Set<Watched>();
  readonly root: Watched;

  constructor(rootWatch: number) {
    this.root = { watch: rootWatch, name: '', parent: undefined, children: undefined };
    this.#byWatch.set(rootWatch, this.root);
  }

  get size(): number {
    return this.#byWatch.size;
  }

  get hasAstray(): boolean {
    return this.#astray.size > 0;
  }

  get(watch: number): Watched | undefined {
    return this.#byWatch.get(watch);
  }

  /** Undefined when it doesn't lead to the root. */
  path(directory: Watched): PathKey | undefined {
    if (directory === this.root) return '';
    const parent = directory.parent && this.path(directory.parent);
    return parent === undefined ? undefined : joinKey(parent, directory.name);
  }

  find(path: PathKey): Watched | undefined {
    if (path === '') return this.root;
    let directory: Watched | undefined = this.root;
    for (const name of path.split('\0')) directory = directory?.children?.get(name);
    return directory;
  }

  /** Puts the directory of a watch to its place, wherever it was before; undefined where that can't be its place. */
  attach(parent: Watched, name: string, watch: number): { directory: Watched; was: Attached } | undefined {
    const known = this.#byWatch.get(watch);
    if (known && known.parent === parent && known.name === name) return { directory: known, was: 'here' };
    if (known && isAbove(known, parent)) return undefined;
    const displaced = parent.children?.get(name);
    if (displaced) this.detach(displaced);
    if (known) this.#leave(known);
    const directory = known ?? { watch, name, parent, children: undefined };
    directory.name = name;
    directory.parent = parent;
    parent.children ??= new Map();
    parent.children.set(name, directory);
    this.#byWatch.set(watch, directory);
    return { directory, was: known ? 'elsewhere' : 'new' };
  }

  /** It is no longer where it was. */
  detach(directory: Watched): void {
    this.#leave(directory);
    this.#astray.add(directory);
  }

  /** Its watch has ended. */
  forget(directory: Watched): void {
    this.#leave(directory);
    this.#byWatch.delete(directory.watch);
    for (const child of directory.children?.values() ?? []) this.detach(child);
  }

  /** Forgets all that went astray, with everything below: their watches. */
  takeAstray(): number[] {
    const watches: number[] = [];
    const directories = [...this.#astray];
    this.#astray.clear();
    for (let next = directories.pop(); next; next = directories.pop()) {
      watches.push(next.watch);
      this.#byWatch.delete(next.watch);
      for (const child of next.children?.values() ?? []) directories.push(child);
    }
    return watches;
  }

  #leave(directory: Watched): void {
    const siblings = directory.parent?.children;
    if (siblings?.get(directory.name) === directory) siblings.delete(directory.name);
    directory.parent = undefined;
    this.#astray.delete(directory);
  }
}

function isAbove(directory: Watched, other: Watched): boolean {
  for (let at: Watched | undefined = other; at; at = at.parent) if (at === directory) return true;
  return false;
}
