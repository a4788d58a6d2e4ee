import { mkdir, realpath } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { blockIdsOf, decodeState, type EntryState, EntryType } from '../model/entry.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import { type EntryRecord, RecordOp } from '../model/records.ts';
import { baseName, joinPath, parentPath, type TreePath } from '../model/tree-path.ts';
import * as posix from '../posix/index.ts';
import type { EntryVersion, Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { applyAttributes } from './attributes.ts';
import { BlockReader, type ReadingKeys } from './block-reader.ts';
import { EntryWriter } from './entry-writer.ts';
import { Spool } from './spool.ts';
import { checkName, namesIn, removeTree, TargetTree } from './target-tree.ts';

export interface RestoreRequest {
  readonly sourceId: number;
  readonly seq: number;
  /** Entries to restore, with all below them; none: everything. */
  readonly paths: readonly TreePath[];
  /** Made when it is not there. */
  readonly target: Buffer | string;
  /** Also remove what the backup lacks, in directories that are restored whole. */
  readonly delete: boolean;
  readonly dryRun: boolean;
  readonly onChange?: (change: {
    op: 'added' | 'changed' | 'metadata' | 'deleted';
    dir: TreePath;
    name: Buffer;
  }) => void;
  readonly onProblem: (problem: { code: ErrorCode; dir: TreePath; name: Buffer; message: string }) => void;
  readonly onProgress?: (progress: { files: number; bytes: number }) => void;
  readonly signal?: AbortSignal;
  /** For the plan, a temporary file. */
  readonly spoolDir: string;
  /** Directories that nothing may be written to or deleted from: home and store. */
  readonly forbidden: readonly { devMajor: number; devMinor: number; ino: bigint }[];
}

export interface RestoreResult {
  files: number;
  directories: number;
  others: number;
  bytes: number;
  bytesFetched: number;
  unchanged: number;
  deleted: number;
  problems: number;
  /** Entries whose owner was left as it is, for want of root. */
  ownersSkipped: number;
}

export interface RestoreDeps {
  readonly registry: Registry;
  readonly store: Store;
  readonly keys: ReadingKeys;
}

/** Brings entries of one backup into a folder, writing only what differs there. */
export async function restore(request: RestoreRequest, deps: RestoreDeps): Promise<RestoreResult> {
  const rootFd = await openTarget(request);
  return new Restore(request, deps, rootFd).run();
}

async function openTarget({ target, dryRun, forbidden }: RestoreRequest): Promise<number> {
  try {
    if (!dryRun) await mkdir(target, { recursive: true, mode: 0o700 });
    const real = await realpath(target, { encoding: 'buffer' });
    for (let path: Buffer = real; ; path = parentFolder(path)) {
      if (isForbidden(statFolder(path), forbidden))
        throw new TmError('TM1603', `${target} lies inside the store or home`);
      if (path.length === 1) break;
    }
    return posix.open(real, posix.O_RDONLY | posix.O_DIRECTORY);
  } catch (error) {
    if (error instanceof TmError) throw error;
    throw new TmError('TM1603', `${target}: ${(error as Error).message}`, { cause: error });
  }
}

const parentFolder = (path: Buffer): Buffer => path.subarray(0, Math.max(1, path.lastIndexOf(0x2f)));

/** Folders on the way need not be readable, only passable. */
function statFolder(path: Buffer): posix.Stat {
  const fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY);
  try {
    const stat = new posix.Stat();
    posix.check(posix.fstat(fd, stat), 'fstat');
    return stat;
  } finally {
    posix.close(fd);
  }
}

const isForbidden = (stat: posix.Stat, forbidden: RestoreRequest['forbidden']): boolean =>
  forbidden.some(
    (one) => one.ino === stat.ino && one.devMajor === stat.devMajor && one.devMinor === stat.devMinor,
  );

class Restore {
  readonly #request: RestoreRequest;
  readonly #deps: RestoreDeps;
  readonly #tree: TargetTree;
  readonly #rootFd: number;
  readonly #reader: BlockReader;
  readonly #writer: EntryWriter;
  readonly #plan: Spool;
  readonly #directories: Spool;
  /** First restored name of each link group: as many as there are groups. */
  readonly #links = new Map<bigint, { dir: TreePath; name: Buffer }>();
  /** Directories that were there before and whose extra names are still to be looked for. */
  readonly #toSweep = new Map<string, TreePath>();
  /** Only on the way to what was asked for: not whole, so nothing is deleted in them. */
  readonly #onTheWay = new Set<string>();
  readonly #result: RestoreResult = {
    files: 0,
    directories: 0,
    others: 0,
    bytes: 0,
    bytesFetched: 0,
    unchanged: 0,
    deleted: 0,
    problems: 0,
    ownersSkipped: 0,
  };
  #group: { dir: TreePath; names: Set<string> } | undefined;

  constructor(request: RestoreRequest, deps: RestoreDeps, rootFd: number) {
    this.#request = request;
    this.#deps = deps;
    this.#rootFd = rootFd;
    this.#tree = new TargetTree(rootFd);
    this.#reader = new BlockReader(deps.registry, deps.store, deps.keys);
    this.#writer = new EntryWriter(this.#reader);
    this.#plan = new Spool(request.spoolDir);
    this.#directories = new Spool(request.spoolDir);
  }

  async run(): Promise<RestoreResult> {
    try {
      await this.#makePlan();
      for (const batch of this.#plan.forwards()) await this.#restoreBatch(batch);
      this.#sweepGroup();
      for (const dir of this.#toSweep.values()) this.#sweep(dir, new Set());
      this.#directories.flush();
      for (const batch of this.#directories.backwards()) await this.#finishDirectories(batch);
      this.#result.bytesFetched = this.#reader.bytesFetched;
      this.#result.ownersSkipped = this.#writer.ownersSkipped;
      return this.#result;
    } finally {
      this.#plan.close();
      this.#directories.close();
      this.#tree.close();
    }
  }

  /** Copies the list of entries out of the registry, so that its cursor is not held while files are written. */
  async #makePlan(): Promise<void> {
    const { sourceId, seq, paths } = this.#request;
    const entries = this.#deps.registry.entries;
    const add = ({ dir, name, state, hints }: EntryVersion) =>
      this.#plan.add({ op: RecordOp.present, dir, name, state, hints, code: 0 });
    if (paths.length === 0) for await (const page of entries.list(sourceId, seq)) page.forEach(add);
    for (const path of paths) {
      const ancestors: TreePath[] = [];
      for (let up = path; up.length > 0; up = parentPath(up)) ancestors.unshift(parentPath(up));
      for (const ancestor of ancestors) this.#onTheWay.add(ancestor.toString('latin1'));
      const keys = ancestors.map((one) => ({
        dir: parentPath(one),
        name: one.length === 0 ? one : baseName(one),
      }));
      for (const found of await entries.lookup(sourceId, seq, keys))
        if (found && found.name.length > 0) add(found);
      let any = false;
      for await (const page of entries.list(sourceId, seq, { within: path })) {
        any = true;
        page.forEach(add);
      }
      if (!any) throw new TmError('TM1704', path.toString());
    }
    this.#plan.flush();
  }

  async #restoreBatch(batch: readonly EntryRecord[]): Promise<void> {
    const states = batch.map((record) => decodeState(record.state));
    await this.#reader.locate(states.flatMap(blockIdsOf));
    for (const [i, record] of batch.entries()) {
      if (this.#request.signal?.aborted) throw new TmError('TM1508');
      this.#enterGroup(record);
      try {
        await this.#restoreEntry(record, states[i]!);
      } catch (error) {
        this.#problem(record, error);
      }
    }
    this.#request.onProgress?.({ files: this.#result.files, bytes: this.#result.bytes });
    await setImmediate(); // lets signals in
  }

  #enterGroup({ dir, name }: EntryRecord): void {
    if (name.length === 0) return;
    if (!this.#group?.dir.equals(dir)) {
      this.#sweepGroup();
      this.#group = { dir: Buffer.from(dir), names: new Set() };
    }
    this.#group.names.add(name.toString('latin1'));
  }

  async #restoreEntry(record: EntryRecord, state: EntryState): Promise<void> {
    const { dir, name, hints } = record;
    if (state.type === EntryType.directory) return this.#directory(record);
    const dirFd = this.#request.dryRun ? this.#tryEnter(dir) : this.#tree.enter(dir);
    if (dirFd === undefined) {
      this.#count(state);
      this.#request.onChange?.({ op: 'added', dir, name });
      return;
    }
    const planned = await this.#writer.plan(dirFd, name, state, hints);
    const first = this.#links.get(state.linkGroup);
    if (planned === 'equal' && !first) this.#result.unchanged++;
    else if (planned !== 'equal')
      this.#request.onChange?.({
        op: planned === 'created' ? 'added' : planned === 'content' ? 'changed' : 'metadata',
        dir,
        name,
      });
    if (!this.#request.dryRun) {
      this.#clearTheWay(dirFd, name);
      if (first && state.linkGroup !== 0n) await this.#link(first, record, state);
      else await this.#writer.write(dirFd, name, state, planned);
    }
    if (state.linkGroup !== 0n && !first)
      this.#links.set(state.linkGroup, { dir: Buffer.from(dir), name: Buffer.from(name) });
    this.#count(state);
  }

  #tryEnter(dir: TreePath): number | undefined {
    try {
      return this.#tree.enter(dir);
    } catch {
      return undefined;
    }
  }

  #count(state: EntryState): void {
    if (state.type === EntryType.file) {
      this.#result.files++;
      this.#result.bytes += state.size;
    } else this.#result.others++;
  }

  async #link(
    first: { dir: TreePath; name: Buffer },
    { dir, name }: EntryRecord,
    state: EntryState,
  ): Promise<void> {
    const firstFd = posix.check(posix.openDirAt(this.#tree.enter(first.dir), Buffer.from('.')), 'openat');
    try {
      const dirFd = this.#tree.enter(dir);
      this.#writer.look(firstFd, first.name);
      const ino = this.#writer.stat.ino;
      if (this.#writer.look(dirFd, name) !== undefined && this.#writer.stat.ino === ino)
        this.#result.unchanged++;
      else this.#writer.link(firstFd, first.name, dirFd, name);
      void state;
    } finally {
      posix.close(firstFd);
    }
  }

  /** A directory in the way of something else goes when it is empty or with --delete. */
  #clearTheWay(dirFd: number, name: Buffer): void {
    if (this.#writer.look(dirFd, name) !== posix.S_IFDIR) return;
    if (this.#request.delete) {
      this.#result.deleted += removeTree(dirFd, name, (stat) => isForbidden(stat, this.#request.forbidden));
      return;
    }
    const result = posix.unlinkat(dirFd, name, posix.AT_REMOVEDIR);
    if (result < 0)
      throw new TmError('TM1602', 'a directory that is not empty stands in its place; --delete removes it');
  }

  #directory(record: EntryRecord): void {
    const { dir, name } = record;
    const path = name.length === 0 ? dir : joinPath(dir, name);
    this.#result.directories++;
    this.#directories.add(record);
    if (name.length > 0) {
      checkName(name);
      const dirFd = this.#request.dryRun ? this.#tryEnter(dir) : this.#tree.enter(dir);
      const there = dirFd === undefined ? undefined : this.#writer.look(dirFd, name);
      if (there === undefined) this.#request.onChange?.({ op: 'added', dir, name });
      if (there !== posix.S_IFDIR) {
        if (this.#request.dryRun || dirFd === undefined) return;
        if (there !== undefined) posix.check(posix.unlinkat(dirFd, name), 'unlinkat', name);
        posix.check(posix.mkdirat(dirFd, name, 0o700), 'mkdirat', name);
        return;
      }
    }
    if (this.#request.delete && !this.#onTheWay.has(path.toString('latin1')))
      this.#toSweep.set(path.toString('latin1'), Buffer.from(path));
  }

  #sweepGroup(): void {
    const group = this.#group;
    this.#group = undefined;
    if (group && this.#toSweep.delete(group.dir.toString('latin1'))) this.#sweep(group.dir, group.names);
  }

  /** Removes names that the backup's directory lacks. */
  #sweep(dir: TreePath, keep: ReadonlySet<string>): void {
    const spare = (stat: posix.Stat) => isForbidden(stat, this.#request.forbidden);
    try {
      const dirFd = this.#tree.enter(dir);
      for (const name of namesIn(dirFd)) {
        if (keep.has(name.toString('latin1'))) continue;
        this.#request.onChange?.({ op: 'deleted', dir, name });
        if (!this.#request.dryRun) this.#result.deleted += removeTree(dirFd, name, spare);
      }
    } catch (error) {
      this.#problem({ dir, name: Buffer.alloc(0) }, error);
    }
  }

  /** Owner, attributes, mode and times of directories, deepest first. */
  async #finishDirectories(batch: readonly EntryRecord[]): Promise<void> {
    if (this.#request.dryRun) return;
    for (const record of batch) {
      const { dir, name, state } = record;
      try {
        const fd = name.length === 0 ? this.#rootFd : this.#tree.enter(joinPath(dir, name));
        const owned = await applyAttributes(fd, name, fd, decodeState(state), this.#reader);
        if (!owned) this.#result.ownersSkipped++;
      } catch (error) {
        this.#problem(record, error);
      }
    }
  }

  #problem({ dir, name }: Pick<EntryRecord, 'dir' | 'name'>, error: unknown): void {
    if (error instanceof TmError && error.code === 'TM1508') throw error;
    const known = error instanceof TmError || error instanceof posix.PosixError;
    if (!known) throw error;
    this.#result.problems++;
    const code = error instanceof TmError ? error.code : 'TM1602';
    this.#request.onProblem({ code, dir, name, message: error.message });
  }
}
