import { TmError } from '../model/errors.ts';
import { bytesToDisplay, isWithin, joinPath, ROOT, type TreePath } from '../model/tree-path.ts';
import {
  DirReader,
  DT_DIR,
  DT_REG,
  ENOENT,
  ESTALE,
  fstat,
  openDirAt,
  PosixError,
  S_IFDIR,
  Stat,
} from '../posix/index.ts';
import { Comparison, isMountBelow, throwIfExhausted, UNMOUNTED, unreadable } from './comparison.ts';
import { DirectoryStack, WalkedDirectory } from './directory-stack.ts';
import { NameList } from './name-list.ts';
import { OpenDirectory } from './open-directory.ts';
import { EMIT_LIMITS, Outbox } from './outbox.ts';
import { encodeRootHint } from './root-check.ts';
import type { ScanOptions } from './scan-options.ts';
import { fileType, sketchedDevice } from './stat-record.ts';
import { StateReader } from './state-reader.ts';
import type { ScanStep, ScanTotals } from './steps.ts';
import { type Subdirectory, Visit } from './subdirectories.ts';

export type { GoneEntry, ScanEntry, ScanStep, ScanTotals, WorkBatch, WorkGroup, WorkItem } from './steps.ts';

const HERE = Buffer.from('.');

/**
 * Walks a source and merges it with its last known state, both in the order of (dir, name): gives out what has to be
 * read and what is gone, and writes the new state. It goes on only while `next` is called, so that the caller sets
 * the pace; descriptors stay open for batches until they are released. One scan is one object.
 */
export class Scan {
  readonly #options: ScanOptions;
  readonly #state: StateReader;
  readonly #outbox: Outbox;
  readonly #stack = new DirectoryStack();
  readonly #names = new NameList();
  readonly #reader = new DirReader(-1);
  readonly #stat = new Stat();
  readonly #root: WalkedDirectory;
  readonly #comparison: Comparison;
  readonly #steps: Generator<ScanStep, void>;
  #rootHint = '';
  #hasEnded = false;

  /** Throws TM1102 when the root can't be listed. */
  constructor(options: ScanOptions) {
    this.#options = options;
    this.#state = options.state ?? StateReader.none();
    this.#outbox = new Outbox(options.limits ?? EMIT_LIMITS);
    this.#root = this.#openRoot();
    this.#comparison = new Comparison(options, this.#state, this.#outbox, this.#root.dev);
    this.#steps = this.#run();
  }

  get totals(): Readonly<ScanTotals> {
    return this.#comparison.totals;
  }

  /** Sum of the hashes that the state has of all entries that were kept, of which no step tells more. */
  keptDigest(): Buffer {
    return this.#comparison.keptDigest.bytes();
  }

  /** See root-check; of the root as it was listed, so after the first step. */
  rootHint(): string {
    return this.#rootHint;
  }

  /** The directory that the walk is in. */
  get directory(): TreePath {
    return this.#stack.top?.path ?? ROOT;
  }

  /** Throws TM1011 (out of descriptors or memory) and TM1012 (the old state is damaged): then the scan is of no use. */
  next(): ScanStep {
    if (this.#hasEnded) return { type: 'end' };
    const step = this.#steps.next().value;
    if (!step) throw new TmError('TM1099', 'the scan had failed before');
    this.#hasEnded = step.type === 'end';
    return step;
  }

  /** The batch's items were read: its directories may be closed. */
  release(batchId: number): void {
    this.#outbox.release(batchId);
  }

  /** Closes all descriptors, also those of batches that were not released: their readers must have stopped. */
  close(): void {
    this.#hasEnded = true;
    this.#stack.close();
    this.#outbox.close();
  }

  *#run(): Generator<ScanStep, void> {
    this.#state.rewind();
    this.#options.stateWriter.enter(ROOT);
    this.#enterRoot();
    yield* this.#merge();
    for (let top = this.#stack.top; top; top = this.#stack.top) {
      const next = top.subdirectories.shift();
      if (next) yield* this.#visit(top, next);
      else this.#stack.pop();
    }
    yield* this.#goneBefore(undefined);
    this.#outbox.flush();
    yield* this.#drain();
    yield { type: 'end' };
  }

  *#drain(): Generator<ScanStep, void> {
    for (let step = this.#outbox.take(); step; step = this.#outbox.take()) yield step;
  }

  #openRoot(): WalkedDirectory {
    const fd = openDirAt(this.#options.rootFd, HERE);
    this.#checkRoot(fd, 'openat');
    this.#checkRoot(fstat(fd, this.#stat), 'statx');
    const root = new WalkedDirectory(ROOT, new OpenDirectory(fd), this.#stat);
    this.#stack.push(root);
    return root;
  }

  #enterRoot(): void {
    const root = this.#root;
    const open = root.open!;
    this.#checkRoot(this.#list(open.fd), 'getdents64');
    this.#rootHint = encodeRootHint(open.fd, root.ino, this.#names.count);
    const state = this.#state;
    const known = !state.done && state.dir.length === 0 && state.name.length === 0;
    this.#checkRoot(this.#comparison.root(root, open, known), 'statx');
    if (known) state.advance();
  }

  #checkRoot(error: number, call: string): void {
    if (error >= 0) return;
    const path = bytesToDisplay(this.#options.rootPath);
    throw new TmError('TM1102', path, { cause: new PosixError(error, call), path });
  }

  /** Settles all names of the directory on top, whose list is in #names, in order with those of the state. */
  *#merge(): Generator<ScanStep, void> {
    const directory = this.#stack.top!;
    const open = directory.open!;
    const state = this.#state;
    const names = this.#names;
    yield* this.#goneBefore(directory.path);
    this.#options.stateWriter.enter(directory.path);
    if (names.hasLongNames) this.#comparison.tooLong(directory);
    const serial = !state.done && state.dir.equals(directory.path) ? state.dirSerial : -1;
    for (let i = 0; i < names.count; ) {
      names.select(i);
      const order = state.dirSerial === serial ? state.compareName(names.bytes, names.start, names.end) : 1;
      if (order >= 0) {
        this.#comparison.entry(directory, open, names.name, names.type, order === 0);
        i++;
      } else this.#unlisted(directory, open);
      if (order <= 0) state.advance();
      if (this.#outbox.isReady) yield* this.#drain();
    }
    while (state.dirSerial === serial) {
      this.#unlisted(directory, open);
      state.advance();
      if (this.#outbox.isReady) yield* this.#drain();
    }
  }

  #unlisted(directory: WalkedDirectory, open: OpenDirectory): void {
    const state = this.#state;
    const wasDirectory = fileType(state.words, state.statAt) === S_IFDIR;
    this.#comparison.entry(directory, open, state.name, wasDirectory ? DT_DIR : DT_REG, true);
  }

  *#visit(parent: WalkedDirectory, next: Subdirectory): Generator<ScanStep, void> {
    const path = joinPath(parent.path, next.name);
    const result = next.visit === Visit.keep ? undefined : this.#open(parent, next, path);
    if (result instanceof WalkedDirectory) {
      yield* this.#goneBefore(path);
      if (this.#looksUnmounted(result)) {
        result.open!.release();
        this.#options.stateWriter.markMountpoint(next.handle);
        this.#unvisited(parent, next, 0);
        yield* this.#keepBelow(path);
        return;
      }
      this.#stack.push(result);
      yield* this.#merge();
    } else if (result === -ENOENT && !next.isMount) {
      this.#vanished(parent, next);
    } else {
      if (result !== undefined) this.#unvisited(parent, next, result);
      yield* this.#keepBelow(path);
    }
  }

  /** Where the state was made anew, an empty directory that held entries of another device: nobody noted mount points. */
  #looksUnmounted({ path, dev }: WalkedDirectory): boolean {
    const state = this.#state;
    if (!state.isRebuilt || this.#names.count > 0 || state.done || !isWithin(state.dir, path)) return false;
    const device = sketchedDevice(state.words, state.statAt);
    return device !== 0n && device !== dev;
  }

  /** Opens and lists a subdirectory of the topmost directory; -errno, or 0 when it isn't mounted any more. */
  #open(parent: WalkedDirectory, next: Subdirectory, path: TreePath): WalkedDirectory | number {
    const parentOpen = this.#stack.openTop();
    if (typeof parentOpen === 'number') return -ESTALE;
    const fd = openDirAt(parentOpen.fd, next.name);
    throwIfExhausted(fd);
    if (fd < 0) return fd;
    const open = new OpenDirectory(fd);
    const error = fstat(fd, this.#stat);
    const directory = new WalkedDirectory(path, open, this.#stat);
    const isUnmounted = next.isMount && !isMountBelow(parent, this.#stat);
    const failure = error < 0 || isUnmounted ? error : this.#list(fd);
    if (failure === 0 && !isUnmounted) return directory;
    open.release();
    return failure;
  }

  /** Reads the names of a directory into #names; 0 or -errno. */
  #list(fd: number): number {
    try {
      this.#reader.reset(fd);
      this.#names.fill(this.#reader);
      return 0;
    } catch (error) {
      if (!(error instanceof PosixError)) throw error;
      throwIfExhausted(-error.errno);
      return -error.errno;
    }
  }

  /** Since its parent was listed. Given out as work, it is recorded as it was seen, and empty. */
  #vanished(parent: WalkedDirectory, next: Subdirectory): void {
    if (next.visit === Visit.walkEmitted) return;
    const { stateWriter } = this.#options;
    this.#outbox.gone(parent.path, next.name, stateWriter.hashOf(next.handle));
    stateWriter.void(next.handle);
    this.#comparison.totals.directories--;
    this.#comparison.totals.unchanged--;
  }

  /** `error`: as of #open. */
  #unvisited(parent: WalkedDirectory, next: Subdirectory, error: number): void {
    const reason = error === 0 || error === -ENOENT ? UNMOUNTED : unreadable(error);
    if (next.visit === Visit.walkEmitted) {
      this.#outbox.note(parent.path, next.name, reason);
      return;
    }
    this.#outbox.kept(parent.path, next.name, reason);
    this.#options.stateWriter.distrust(next.handle);
    this.#comparison.totals.unchanged--;
  }

  /** All that the state holds below `path` stays as it was. */
  *#keepBelow(path: TreePath): Generator<ScanStep, void> {
    const state = this.#state;
    yield* this.#goneBefore(path);
    while (!state.done && isWithin(state.dir, path)) {
      this.#options.stateWriter.enter(state.dir);
      this.#comparison.keepKnown(0);
      state.advance();
      this.#outbox.looked();
      if (this.#outbox.isReady) yield* this.#drain();
    }
  }

  /** What the state holds of directories before `path` lies below something that is gone, since nothing visited it. */
  *#goneBefore(path: TreePath | undefined): Generator<ScanStep, void> {
    const state = this.#state;
    while (!state.done && (path === undefined || Buffer.compare(state.dir, path) < 0)) {
      this.#outbox.gone(state.dir, state.name, state.hash);
      state.advance();
      this.#outbox.looked();
      if (this.#outbox.isReady) yield* this.#drain();
    }
  }
}
