import { baseName, joinPath, type TreePath } from '../../model/tree-path.ts';
import { S_IFDIR } from '../../posix/index.ts';
import type { KnownState } from '../known/known-state.ts';
import type { EntrySet, MovedFinder, MovedFrom } from '../scan-options.ts';
import { fileType, inodeOf, isSameFile } from '../stat-record.ts';
import { StateFlag } from '../state-format.ts';

const DOUBTFUL = StateFlag.untrusted | StateFlag.racy;

/** Finds what came by the rename of a directory, in what is known of where it was. */
export class MovedDirectories implements MovedFinder {
  readonly #known: KnownState;
  readonly #reread: EntrySet | undefined;
  readonly #cursor;

  constructor(known: KnownState, reread: EntrySet | undefined) {
    this.#known = known;
    this.#reread = reread;
    this.#cursor = known.cursor();
  }

  directory(path: TreePath, inode: bigint, parent: TreePath | undefined): TreePath | undefined {
    const along = parent && joinPath(parent, baseName(path));
    if (along && this.#isDirectory(along, inode)) return along;
    return this.#known.pathsOf(inode).find((one) => !one.equals(path) && this.#isDirectory(one, inode));
  }

  entry(dir: TreePath, name: Buffer, stat: Int32Array): MovedFrom | undefined {
    const cursor = this.#cursor;
    if (!cursor.seek(joinPath(dir, name)) || (cursor.flags & DOUBTFUL) !== 0) return undefined;
    if (!isSameFile(stat, 0, cursor.words, cursor.statAt) || this.#reread?.has(dir, name)) return undefined;
    return { dir, hash: cursor.hash };
  }

  #isDirectory(path: TreePath, inode: bigint): boolean {
    const cursor = this.#cursor;
    if (!cursor.seek(path)) return false;
    const { words, statAt } = cursor;
    return fileType(words, statAt) === S_IFDIR && inodeOf(words, statAt) === inode;
  }
}
