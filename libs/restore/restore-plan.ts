import type { BackupEntries, TreeEntry } from '../catalogue/port.ts';
import { blake3 } from '../model/digests.ts';
import { EntryType } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';
import type { RecordView } from '../model/records.ts';
import { baseName, isWithin, parentPath, type TreePath } from '../model/tree-path.ts';
import { Spool } from './spool.ts';
import { isOneName, LINK_GROUP_AT, sizeOf, typeOf } from './state-fields.ts';

/**
 * States of one inode are the same, so names are joined by the whole of them: a link group's id alone may come again,
 * since file systems give the numbers of inodes and devices that are gone to new ones, and a kept entry stays.
 */
function withLinkGroupOfState(state: Buffer): Buffer {
  if (isOneName(state)) return state;
  const own = Buffer.from(state);
  own.writeBigUInt64LE(blake3(state).readBigUInt64LE(0) | 1n, LINK_GROUP_AT);
  return own;
}

/** What is asked for, in order, without what lies below another one. */
export function planPaths(paths: readonly TreePath[]): TreePath[] {
  const sorted = [...paths].sort(Buffer.compare);
  const wanted: TreePath[] = [];
  for (const path of sorted) {
    const last = wanted.at(-1);
    if (!last || !isWithin(path, last)) wanted.push(path);
  }
  return wanted;
}

/** Restores of less than this are done without threads, which take longer to start. */
const LARGE_ENTRIES = 1000;
const LARGE_BYTES = 16 * 1024 * 1024;

export interface PlanRequest {
  readonly paths: readonly TreePath[];
  readonly spoolDir: string;
}

/**
 * The entries to restore, in order of directory and name, each directory before what is in it. They are copied out of the
 * registry as fast as it gives them, so that its cursor is not held while files are written; what has come can be
 * restored meanwhile.
 */
export class RestorePlan {
  /** Directories only on the way to what was asked for: not whole, so nothing is deleted in them. */
  readonly onTheWay = new Set<string>();
  /** Resolved when all has come. Rejected with what reading throws: TM1704 where there is nothing at a path. */
  readonly whole: Promise<void>;
  readonly #spool: Spool;
  readonly #large = Promise.withResolvers<boolean>();
  #grown = Promise.withResolvers<void>();
  #isWhole = false;
  #closing = false;
  #count = 0;
  #bytes = 0;

  constructor(entries: BackupEntries, { paths, spoolDir }: PlanRequest) {
    this.#spool = new Spool(spoolDir);
    this.whole = this.#read(entries, paths).finally(() => {
      this.#isWhole = true;
      this.#grown.resolve();
    });
    this.whole.then(
      () => this.#large.resolve(false),
      (error) => this.#large.reject(error),
    );
    this.#large.promise.catch(() => {});
  }

  /** Whether there is enough for threads; known as soon as it has come. */
  get isLarge(): Promise<boolean> {
    return this.#large.promise;
  }

  /** Of all files; undefined while more may come. */
  get bytes(): number | undefined {
    return this.#isWhole ? this.#bytes : undefined;
  }

  /** All entries, as they come. Throws where the list breaks off. */
  async *batches(): AsyncGenerator<RecordView[]> {
    for (let at = 0; ; ) {
      const isWhole = this.#isWhole;
      const batch = this.#spool.batch(at);
      if (batch) {
        at = batch.end;
        yield batch.records;
      } else if (isWhole) return await this.whole;
      else await this.#grown.promise;
    }
  }

  async #read(entries: BackupEntries, paths: readonly TreePath[]): Promise<void> {
    const add = (entry: TreeEntry) => this.#add(entry);
    if (paths.length === 0) await entries.visit(add);
    for (const path of planPaths(paths)) {
      const ancestors = ancestorsOf(path).filter((one) => !this.onTheWay.has(one.toString('latin1')));
      for (const one of ancestors) this.onTheWay.add(one.toString('latin1'));
      const keys = ancestors.map((one) => ({ dir: parentPath(one), name: baseName(one) }));
      for (const found of await entries.lookup(keys)) if (found) add(found);
      const before = this.#count;
      await entries.visit(add, path);
      if (this.#count === before) throw new TmError('TM1704', path.toString(), { path: path.toString() });
    }
    this.#spool.flush();
  }

  #add({ dir, name, state: found, hints }: TreeEntry): void {
    if (this.#closing) throw new TmError('TM1508');
    const state = withLinkGroupOfState(found);
    this.#count++;
    if (typeOf(state) === EntryType.file) this.#bytes += sizeOf(state);
    if (this.#count >= LARGE_ENTRIES || this.#bytes >= LARGE_BYTES) this.#large.resolve(true);
    if (!this.#spool.add(dir, name, state, hints)) return;
    this.#grown.resolve();
    this.#grown = Promise.withResolvers();
  }

  /** Ends the reading, wherever it is. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.whole.catch(() => {});
    this.#spool.close();
  }
}

/** Directories above a path below the root, the outermost first. */
function ancestorsOf(path: TreePath): TreePath[] {
  const ancestors: TreePath[] = [];
  for (let up = parentPath(path); up.length > 0; up = parentPath(up)) ancestors.unshift(up);
  return ancestors;
}
