import { TmError } from '../../model/errors.ts';
import {
  baseName,
  bytesToDisplay,
  isWithin,
  joinPath,
  parentPath,
  ROOT,
  type TreePath,
} from '../../model/tree-path.ts';
import {
  DT_UNKNOWN,
  ELOOP,
  ENOENT,
  ENOTDIR,
  ESTALE,
  fstat,
  openDirAt,
  PosixError,
  S_IFDIR,
  Stat,
  statx,
} from '../../posix/index.ts';
import { Comparison, isMountBelow, unreadable } from '../comparison.ts';
import { CACHE_TAG, IGNORE_FILE, rulesOf } from '../directory-rules.ts';
import { WalkedDirectory } from '../directory-stack.ts';
import { throwIfExhausted } from '../exhausted.ts';
import type { KnownChanges } from '../known/known-changes.ts';
import type { KnownCursor } from '../known/known-cursor.ts';
import type { KnownState } from '../known/known-state.ts';
import { OpenDirectory } from '../open-directory.ts';
import { EMIT_LIMITS, type EmitLimits } from '../outbox.ts';
import type { ScanSource } from '../port.ts';
import { checkRoot, encodeRootHint } from '../root-check.ts';
import type { ComparisonOptions } from '../scan-options.ts';
import { fileType } from '../stat-record.ts';
import { StateFlag } from '../state-format.ts';
import type { ScanStep, ScanTotals } from '../steps.ts';
import { type Subdirectory, Visit } from '../subdirectories.ts';
import { Walk } from '../walk.ts';
import { DirtyOutbox } from './dirty-outbox.ts';
import { type Look, Looks, nextName } from './looks.ts';
import { MovedDirectories } from './moved-directories.ts';

const HERE = Buffer.from('.');
/** Paths that are looked up before others get their turn in this process. */
const AT_ONCE = 500;
/** The path leads elsewhere by now: whoever changed that is told of later. */
const CHANGING: ReadonlySet<number> = new Set([-ENOENT, -ENOTDIR, -ELOOP, -ESTALE]);

/** Where something may have changed; see libs/watch. */
export interface DirtyPaths {
  readonly entries: readonly {
    readonly path: TreePath;
    readonly shared?: readonly { readonly ino: bigint }[];
    readonly listing?: true;
  }[];
  readonly subtrees: readonly { readonly path: TreePath }[];
  /** Still being written: they are read, flagged, and read again next time. */
  readonly unsettled: readonly TreePath[];
}

export interface DirtyScanOptions extends Omit<ComparisonOptions, 'stateWriter' | 'readAll' | 'moved'> {
  /** A descriptor of the root; it stays the caller's. */
  readonly rootFd: number;
  /** For messages. */
  readonly rootPath: Buffer;
  readonly known: KnownState;
  readonly dirty: DirtyPaths;
  /** What the root looked like at the base. */
  readonly rootHint: string | undefined;
  /** An emptied or replaced root is no error. */
  readonly acceptRoot: boolean;
  readonly limits?: EmitLimits;
}

/**
 * Looks at what may have changed in a source, and at nothing else: gives out the steps that a whole scan would give
 * for these paths, by the same rules. What is found to differ goes into `changes`.
 */
export class DirtyScan implements ScanSource {
  readonly changes: KnownChanges;
  readonly #options: DirtyScanOptions;
  readonly #cursor: KnownCursor;
  /** For questions in between. */
  readonly #other: KnownCursor;
  readonly #outbox: DirtyOutbox;
  readonly #looks: Looks;
  readonly #comparison: Comparison;
  readonly #walk: Walk;
  readonly #stat = new Stat();
  readonly #root: WalkedDirectory;
  readonly #steps: Generator<ScanStep, void>;
  #rootHint: string | undefined;
  #peeked: ScanStep | undefined;
  #hasEnded = false;

  /** Throws TM1102 when the root can't be opened. */
  constructor(options: DirtyScanOptions) {
    const { known, reread, dirty, limits } = options;
    this.#options = options;
    this.#rootHint = options.rootHint;
    this.#cursor = known.cursor();
    this.#other = known.cursor();
    this.changes = known.changes(this.#cursor);
    this.#outbox = new DirtyOutbox(limits ?? EMIT_LIMITS, this.#cursor, this.changes, dirty.unsettled);
    this.#looks = new Looks(known.cursor());
    const comparing: ComparisonOptions = {
      ...options,
      stateWriter: this.changes,
      readAll: false,
      moved: new MovedDirectories(known, reread),
    };
    this.#root = this.#openRoot();
    this.#comparison = new Comparison(comparing, this.#cursor, this.#outbox, this.#root.dev);
    this.#walk = new Walk(comparing, this.#cursor, this.#outbox, this.#comparison);
    this.#walk.stack.push(this.#root);
    this.#steps = this.#run();
  }

  /** Of the whole tree. */
  get totals(): Readonly<ScanTotals> {
    const before = this.#options.known.totals;
    const { taken } = this.#cursor;
    const found = this.#comparison.totals;
    const { files, directories, others } = taken;
    const unseen = before.files + before.directories + before.others - files - directories - others;
    return {
      files: before.files - files + found.files,
      directories: before.directories - directories + found.directories,
      others: before.others - others + found.others,
      bytes: before.bytes - taken.bytes + found.bytes,
      unchanged: unseen + found.unchanged,
    };
  }

  /** A full backup is never made of dirty paths. */
  keptDigest(): Buffer {
    throw new TmError('TM1099', 'a scan of dirty paths keeps no digest');
  }

  rootHint(): string {
    if (this.#rootHint === undefined) throw new TmError('TM1099', 'the root was not looked at');
    return this.#rootHint;
  }

  get directory(): TreePath {
    return this.#walk.stack.top?.path ?? ROOT;
  }

  next(): ScanStep {
    const step = this.#peeked ?? this.#next();
    this.#peeked = undefined;
    return step;
  }

  /** Whether anything is to be read, is gone or can't be read. Goes on to the first such step; `idle` between others. */
  async differs(idle: () => Promise<unknown>): Promise<boolean> {
    this.#peeked ??= this.#next();
    while (this.#peeked.type === 'progress' || this.#peeked.type === 'note') {
      await idle();
      this.#peeked = this.#next();
    }
    return this.#peeked.type !== 'end';
  }

  #next(): ScanStep {
    if (this.#hasEnded) return { type: 'end' };
    const step = this.#steps.next().value;
    if (!step) throw new TmError('TM1099', 'the scan had failed before');
    this.#hasEnded = step.type === 'end';
    return step;
  }

  release(batchId: number): void {
    this.#outbox.release(batchId);
  }

  close(): void {
    this.#hasEnded = true;
    this.#walk.stack.close();
    this.#outbox.close();
  }

  #openRoot(): WalkedDirectory {
    const fd = openDirAt(this.#options.rootFd, HERE);
    this.#checkRoot(fd, 'openat');
    const open = new OpenDirectory(fd);
    const error = fstat(fd, this.#stat);
    if (error < 0) open.release();
    this.#checkRoot(error, 'statx');
    const root = new WalkedDirectory(ROOT, open, this.#stat);
    this.#leaveOut(root, fd, this.#options.excludes);
    return root;
  }

  #checkRoot(error: number, call: string): void {
    if (error >= 0) return;
    const path = bytesToDisplay(this.#options.rootPath);
    throw new TmError('TM1102', path, { cause: new PosixError(error, call), path });
  }

  *#run(): Generator<ScanStep, void> {
    yield* this.#plan();
    for (let round = this.#looks.takeRound(); round.length > 0; round = this.#looks.takeRound()) {
      for (const look of round) {
        yield* this.#look(look);
        if (this.#outbox.isReady) yield* this.#walk.drain();
      }
      let asked = 0;
      for (const inode of this.#outbox.takeInodes()) {
        this.#lookAtNames(inode);
        if (++asked % AT_ONCE === 0) yield { type: 'progress' };
      }
    }
    this.#outbox.flush();
    yield* this.#walk.drain();
    yield { type: 'end' };
  }

  *#plan(): Generator<ScanStep, void> {
    const { entries, subtrees } = this.#options.dirty;
    let planned = 0;
    for (const { path, shared, listing } of entries) {
      if (++planned % AT_ONCE === 0) yield { type: 'progress' };
      this.#looks.add(path, { listing: listing === true });
      for (const { ino } of shared ?? []) this.#lookAtNames(ino);
      const name = baseName(path);
      // What its directory leaves out may be others now.
      if (name.equals(IGNORE_FILE) || name.equals(CACHE_TAG))
        this.#looks.add(parentPath(path), { walk: true });
    }
    for (const { path } of subtrees) this.#looks.add(path, { walk: true });
    if (this.#rootHint === undefined) this.#looks.add(ROOT);
  }

  #lookAtNames(inode: bigint): void {
    const cursor = this.#other;
    for (const path of this.#options.known.pathsOf(inode)) {
      if (cursor.seek(path) && fileType(cursor.words, cursor.statAt) !== S_IFDIR) this.#looks.add(path);
    }
  }

  *#look(look: Look): Generator<ScanStep, void> {
    const { path } = look;
    if (this.#looks.isCovered(path)) return;
    if (path.length === 0) {
      yield* this.#lookAtRoot(look);
      return;
    }
    const parent = this.#moveTo(parentPath(path));
    if (!parent) return;
    const cursor = this.#cursor;
    const isKnown = cursor.seek(path);
    const wasDirectory = isKnown && fileType(cursor.words, cursor.statAt) === S_IFDIR;
    const wasMount = isKnown && (cursor.flags & StateFlag.mountpoint) !== 0;
    // What changed below it while it could not be read was passed over.
    const wasBarred = isKnown && (cursor.flags & StateFlag.untrusted) !== 0;
    this.changes.enter(parent.path);
    this.#comparison.entry(parent, parent.open!, baseName(path), DT_UNKNOWN, isKnown);
    if (isKnown) cursor.advance();
    const next = parent.subdirectories.shift();
    if (!next) {
      if (wasDirectory) yield* this.#goneBelow(path);
    } else if (next.visit === Visit.keep) this.#looks.cover(path);
    else if (
      look.walk ||
      wasBarred ||
      next.isMount !== wasMount ||
      !this.changes.isSameDirectory(next.handle)
    )
      yield* this.#walkBelow(parent, next, path);
    else if (look.listing) this.#lookAtList(parent, next, path);
  }

  *#lookAtRoot({ walk, listing }: Look): Generator<ScanStep, void> {
    const root = this.#root;
    this.#popTo(ROOT);
    const fd = root.open!.fd;
    const cursor = this.#cursor;
    cursor.below(ROOT);
    const { unchanged } = this.#comparison.totals;
    this.changes.enter(ROOT);
    this.#checkRoot(this.#comparison.root(root, root.open!, !cursor.done), 'statx');
    if (!cursor.done) cursor.advance();
    const hasChanged = this.#comparison.totals.unchanged === unchanged;
    if (hasChanged || this.#rootHint === undefined || walk || listing) this.#listRoot(fd);
    if (walk) {
      this.#leaveOut(root, fd, this.#options.excludes);
      yield* this.#walk.merge();
      yield* this.#walk.rest(1);
      yield* this.#walk.goneBefore(undefined);
      this.#looks.cover(ROOT);
    } else if (listing) this.#lookAtNamesIn(ROOT);
  }

  /** Throws TM1105 where it looks emptied or replaced. */
  #listRoot(fd: number): void {
    const { rootFd, rootHint, acceptRoot, rootPath } = this.#options;
    if (!acceptRoot && checkRoot(rootFd, rootHint, this.#topLevelNames()) !== 'ok')
      throw new TmError('TM1105', bytesToDisplay(rootPath));
    this.#checkRoot(this.#walk.list(fd), 'getdents64');
    this.#rootHint = encodeRootHint(fd, this.#root.ino, this.#walk.names.count);
  }

  #topLevelNames(): Buffer[] {
    const names: Buffer[] = [];
    const cursor = this.#other;
    for (cursor.enter(ROOT); !cursor.done; cursor.advance()) {
      if (cursor.name.length > 0) names.push(Buffer.from(cursor.name));
    }
    return names;
  }

  *#walkBelow(parent: WalkedDirectory, next: Subdirectory, path: TreePath): Generator<ScanStep, void> {
    const { height } = this.#walk.stack;
    this.#cursor.below(path);
    yield* this.#walk.visit(parent, next);
    yield* this.#walk.rest(height);
    yield* this.#walk.goneBefore(undefined);
    this.#looks.cover(path);
  }

  /** It is no directory any more, or no part of the tree. */
  *#goneBelow(path: TreePath): Generator<ScanStep, void> {
    this.#cursor.below(path);
    yield* this.#walk.goneBefore(undefined);
    this.#looks.cover(path);
  }

  /** Its names, and those that are known in it, are looked at in the next round. */
  #lookAtList(parent: WalkedDirectory, next: Subdirectory, path: TreePath): void {
    const fd = openDirAt(parent.open!.fd, next.name);
    throwIfExhausted(fd);
    if (fd < 0) return; // it is told of again
    const open = new OpenDirectory(fd);
    if (this.#walk.list(fd) === 0) this.#lookAtNamesIn(path);
    open.release();
  }

  /** Of a directory that was just listed. */
  #lookAtNamesIn(path: TreePath): void {
    const { names } = this.#walk;
    for (let i = 0; i < names.count; i++) {
      names.select(i);
      this.#looks.add(joinPath(path, names.name));
    }
    const cursor = this.#other;
    for (cursor.enter(path); !cursor.done; cursor.advance()) this.#looks.add(joinPath(path, cursor.name));
  }

  /** Has the directory on top of the stack, open; undefined where the way there is barred: then that is looked at. */
  #moveTo(dir: TreePath): WalkedDirectory | undefined {
    const { stack } = this.#walk;
    this.#popTo(dir);
    while (stack.top!.path.length < dir.length) {
      const parent = stack.top!;
      const name = nextName(dir, parent.path.length);
      const path = joinPath(parent.path, name);
      const directory = this.#open(parent, name, path);
      if (!directory) return undefined;
      stack.push(directory);
    }
    const opened = stack.openTop();
    if (typeof opened !== 'number') return stack.top;
    this.#barred(dir, opened);
    return undefined;
  }

  #popTo(dir: TreePath): void {
    const { stack } = this.#walk;
    while (!isWithin(dir, stack.top!.path)) stack.pop();
  }

  #open(parent: WalkedDirectory, name: Buffer, path: TreePath): WalkedDirectory | undefined {
    const parentOpen = this.#walk.stack.openTop();
    const fd = typeof parentOpen === 'number' ? parentOpen : openDirAt(parentOpen.fd, name);
    throwIfExhausted(fd);
    if (fd < 0) {
      this.#barred(path, fd);
      return undefined;
    }
    const open = new OpenDirectory(fd);
    const error = fstat(fd, this.#stat);
    const directory = new WalkedDirectory(path, open, this.#stat);
    const isMount = isMountBelow(parent, this.#stat);
    if (error < 0 || isMount !== this.#wasMount(path)) {
      open.release();
      this.#barred(path, error < 0 ? error : -ESTALE);
      return undefined;
    }
    this.#leaveOut(directory, fd, parent.leftOut.rules);
    return directory;
  }

  #leaveOut(directory: WalkedDirectory, fd: number, above: DirtyScanOptions['excludes']): void {
    const has = (name: Buffer) => statx(fd, name, this.#stat) === 0;
    directory.leftOut = rulesOf({ path: directory.path, fd, has }, above, () => {});
  }

  #wasMount(path: TreePath): boolean {
    return this.#other.seek(path) && (this.#other.flags & StateFlag.mountpoint) !== 0;
  }

  /**
   * A known directory on the way can't be entered, or a file system came or went there: with all that is below, it is
   * looked at next, unless it was; then it is changing right now, and told of again.
   */
  #barred(path: TreePath, error: number): void {
    if (!this.#looks.isDone(path)) {
      this.#looks.add(path, { walk: true });
      return;
    }
    throwIfExhausted(error);
    // What is dirty below it waits, with what is known, until all of it can be looked at.
    if (!CHANGING.has(error))
      throw new TmError('TM1012', `${bytesToDisplay(path)}: ${unreadable(error).message}`);
    this.#looks.cover(path);
  }
}
