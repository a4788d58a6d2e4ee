import { baseName, parentPath, type TreePath } from '../../model/tree-path.ts';
import { inodeHash, linkCount, STAT_WORDS } from '../stat-record.ts';
import { RESULT_WORDS } from '../state-format.ts';

/** A record in memory: its result (flags, hash, a word that is unused), then its stat record. */
export const RECORD_WORDS = RESULT_WORDS + STAT_WORDS;

/** Nothing is there, whatever the file says. */
export const GONE = -1;

/** Paths and names with one char for each byte: their order as text is the order of the bytes. */
export const toKey = (bytes: Buffer): string => bytes.toString('latin1');
export const fromKey = (key: string): Buffer => Buffer.from(key, 'latin1');

/** What has changed since a state file was written: entries that came, changed or went. Some 250 bytes for each. */
export class Overlay {
  /** Records by directory and name: the number of a record, or GONE. */
  readonly #directories = new Map<string, Map<string, number>>();
  #sorted: string[] | undefined;
  /** Paths that had an inode, by its hash; some have another one by now. */
  readonly #inodes = new Map<number, string[]>();
  #words = new Int32Array(256 * RECORD_WORDS);
  #records = 0;
  /** Entries. */
  size = 0;

  /** What records are words of; replaced as it grows. */
  get words(): Int32Array {
    return this.#words;
  }

  /** Undefined: as the file says. */
  find(path: TreePath): number | undefined {
    if (this.size === 0) return undefined;
    const dir = path.length === 0 ? '' : toKey(parentPath(path));
    return this.#directories.get(dir)?.get(toKey(baseName(path)));
  }

  /** Names in a directory, in order. */
  names(dir: string): readonly (readonly [string, number])[] {
    const names = this.#directories.get(dir);
    return names ? [...names].sort(([a], [b]) => (a < b ? -1 : 1)) : [];
  }

  /** Directories, in order. */
  get directories(): readonly string[] {
    this.#sorted ??= [...this.#directories.keys()].sort();
    return this.#sorted;
  }

  /** Paths that may have the inode. */
  pathsOf(inode: number): readonly string[] {
    return this.#inodes.get(inode) ?? [];
  }

  /** Copies the record at word `at`. */
  put(dir: TreePath, name: Buffer, words: Int32Array, at: number): void {
    const names = this.#names(dir);
    const key = toKey(name);
    const before = names.get(key);
    const record = before === undefined || before === GONE ? this.#add() : before;
    names.set(key, record);
    if (before === undefined) this.size++;
    this.#words.set(words.subarray(at, at + RECORD_WORDS), record * RECORD_WORDS);
    this.#remember(dir, key, record);
  }

  remove(dir: TreePath, name: Buffer): void {
    const names = this.#names(dir);
    const key = toKey(name);
    if (!names.has(key)) this.size++;
    names.set(key, GONE);
  }

  #names(dir: TreePath): Map<string, number> {
    const key = toKey(dir);
    let names = this.#directories.get(key);
    if (!names) {
      names = new Map();
      this.#directories.set(key, names);
      this.#sorted = undefined;
    }
    return names;
  }

  #add(): number {
    if ((this.#records + 1) * RECORD_WORDS > this.#words.length) {
      const grown = new Int32Array(this.#words.length * 2);
      grown.set(this.#words);
      this.#words = grown;
    }
    return this.#records++;
  }

  #remember(dir: TreePath, name: string, record: number): void {
    const at = record * RECORD_WORDS + RESULT_WORDS;
    if (linkCount(this.#words, at) === 0) return; // a sketch: nobody knows its inode
    const inode = inodeHash(this.#words, at);
    const path = dir.length === 0 ? name : `${toKey(dir)}\0${name}`;
    const paths = this.#inodes.get(inode);
    if (!paths) this.#inodes.set(inode, [path]);
    else if (!paths.includes(path)) paths.push(path);
  }
}
