import { isWithin, joinPath, type TreePath } from '../model/tree-path.ts';
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
import { type Comparison, isMountBelow, UNMOUNTED, unreadable } from './comparison.ts';
import { rulesOf } from './directory-rules.ts';
import { DirectoryStack, WalkedDirectory } from './directory-stack.ts';
import { Entered } from './entered.ts';
import type { ExcludeRules } from './excludes.ts';
import { throwIfExhausted } from './exhausted.ts';
import { NameList } from './name-list.ts';
import { OpenDirectory } from './open-directory.ts';
import type { Outbox } from './outbox.ts';
import type { SameChunks } from './same-chunks.ts';
import type { ComparisonOptions } from './scan-options.ts';
import { fileType, sketchedDevice } from './stat-record.ts';
import type { StateCursor } from './state-cursor.ts';
import type { ScanStep } from './steps.ts';
import { type Subdirectory, Visit } from './subdirectories.ts';

/** As of ComparisonOptions.clockGranularityNs. */
const GRANULARITY_NS = 10_000_000;

/**
 * Walks directories and merges what is in them with a known state, both in the order of (dir, name). Whoever uses it
 * puts the first directory on the stack.
 */
export class Walk {
  readonly stack = new DirectoryStack();
  /** Of the directory that was listed last. */
  readonly names = new NameList();
  readonly #options: ComparisonOptions;
  readonly #state: StateCursor;
  readonly #outbox: Outbox;
  readonly #comparison: Comparison;
  readonly #entered: Entered;
  readonly #chunks: SameChunks | undefined;
  readonly #reader = new DirReader(-1);
  readonly #stat = new Stat();

  constructor(
    options: ComparisonOptions,
    state: StateCursor,
    outbox: Outbox,
    comparison: Comparison,
    chunks?: SameChunks,
  ) {
    this.#options = options;
    this.#state = state;
    this.#outbox = outbox;
    this.#comparison = comparison;
    this.#entered = new Entered(options.startedAt, options.clockGranularityNs ?? GRANULARITY_NS);
    this.#chunks = chunks;
  }

  /** All that waits for its visit, until `height` directories are left on the stack. */
  *rest(height: number): Generator<ScanStep, void> {
    while (this.stack.height > height) {
      const top = this.stack.top!;
      const next = top.subdirectories.shift();
      if (next) yield* this.visit(top, next);
      else this.stack.pop();
    }
  }

  *drain(): Generator<ScanStep, void> {
    for (let step = this.#outbox.take(); step; step = this.#outbox.take()) yield step;
  }

  /** Settles all names of the directory on top, whose list is in `names`, in order with those of the state. */
  *merge(): Generator<ScanStep, void> {
    const directory = this.stack.top!;
    const open = directory.open!;
    const state = this.#state;
    const names = this.names;
    if (this.#isBehind(directory.path)) yield* this.goneBefore(directory.path);
    this.#options.stateWriter.enter(directory.path);
    if (names.hasLongNames) this.#comparison.tooLong(directory);
    const serial = !state.done && state.dir.equals(directory.path) ? state.dirSerial : -1;
    for (let i = 0; i < names.count; ) {
      const isKnown = state.dirSerial === serial;
      const settled = isKnown && this.#chunks ? this.#chunks.settle(directory, open, names, i) : 0;
      if (settled > 0) {
        i += settled;
        if (this.#outbox.isReady) yield* this.drain();
        continue;
      }
      names.select(i);
      const order = isKnown ? state.compareName(names.bytes, names.start, names.end) : 1;
      if (order >= 0) {
        this.#comparison.entry(directory, open, names.name, names.type, order === 0);
        i++;
      } else this.#unlisted(directory, open);
      if (order <= 0) state.advance();
      if (this.#outbox.isReady) yield* this.drain();
    }
    while (state.dirSerial === serial) {
      this.#unlisted(directory, open);
      state.advance();
      if (this.#outbox.isReady) yield* this.drain();
    }
  }

  #unlisted(directory: WalkedDirectory, open: OpenDirectory): void {
    const state = this.#state;
    const wasDirectory = fileType(state.words, state.statAt) === S_IFDIR;
    this.#comparison.entry(directory, open, state.name, wasDirectory ? DT_DIR : DT_REG, true);
  }

  /** Goes into a subdirectory of the topmost directory: it is on top then, with its names settled. */
  *visit(parent: WalkedDirectory, next: Subdirectory): Generator<ScanStep, void> {
    const path = joinPath(parent.path, next.name);
    const result = next.visit === Visit.keep ? undefined : this.#open(parent, next, path);
    if (result instanceof WalkedDirectory) {
      if (this.#isBehind(path)) yield* this.goneBefore(path);
      if (this.#looksUnmounted(result)) {
        result.open!.release();
        this.#options.stateWriter.markMountpoint(next.handle);
        this.#unvisited(parent, next, 0);
        yield* this.#keepBelow(path);
        return;
      }
      this.stack.push(result);
      yield* this.merge();
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
    if (!state.isRebuilt || this.names.count > 0 || state.done || !isWithin(state.dir, path)) return false;
    const device = sketchedDevice(state.words, state.statAt);
    return device !== 0n && device !== dev;
  }

  /** Opens and lists a subdirectory of the topmost directory; -errno, or 0 when it isn't mounted any more. */
  #open(parent: WalkedDirectory, next: Subdirectory, path: TreePath): WalkedDirectory | number {
    const parentOpen = this.stack.openTop();
    if (typeof parentOpen === 'number') return -ESTALE;
    const fd = openDirAt(parentOpen.fd, next.name);
    throwIfExhausted(fd);
    if (fd < 0) return fd;
    const open = new OpenDirectory(fd);
    const error = fstat(fd, this.#stat);
    const directory = new WalkedDirectory(path, open, this.#stat);
    const isUnmounted = next.isMount && !isMountBelow(parent, this.#stat);
    const failure = error < 0 || isUnmounted ? error : this.#enter(fd);
    if (failure === 0 && !isUnmounted) {
      this.leaveOut(directory, fd, parent.leftOut.rules);
      if (next.visit === Visit.walkEmitted)
        directory.from = this.#options.moved?.directory(path, directory.ino, parent.from);
      return directory;
    }
    open.release();
    return failure;
  }

  /** Lists a directory, of which `#stat` tells. 0 or -errno: -ESTALE where it is moved ahead again and again. */
  #enter(fd: number): number {
    return this.#entered.tooOften(this.#stat) ? -ESTALE : this.list(fd);
  }

  /** Of a directory whose list is in `names`. */
  leaveOut(directory: WalkedDirectory, fd: number, above: ExcludeRules): void {
    const has = (name: Buffer) => this.names.has(name);
    const { path } = directory;
    directory.leftOut = rulesOf({ path, fd, has }, above, (name, reason) =>
      this.#outbox.note(path, name, reason),
    );
  }

  /** Reads the names of a directory into `names`; 0 or -errno. */
  list(fd: number): number {
    try {
      this.#reader.reset(fd);
      this.names.fill(this.#reader);
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
    yield* this.goneBefore(path);
    while (!state.done && isWithin(state.dir, path)) {
      this.#options.stateWriter.enter(state.dir);
      this.#comparison.keepKnown(0);
      state.advance();
      this.#outbox.looked();
      if (this.#outbox.isReady) yield* this.drain();
    }
  }

  /** Whether the state still is at a directory before `path`. */
  #isBehind(path: TreePath | undefined): boolean {
    const state = this.#state;
    return !state.done && (path === undefined || Buffer.compare(state.dir, path) < 0);
  }

  /** What the state holds of directories before `path` lies below something that is gone, since nothing visited it. */
  *goneBefore(path: TreePath | undefined): Generator<ScanStep, void> {
    const state = this.#state;
    while (this.#isBehind(path)) {
      this.#outbox.gone(state.dir, state.name, state.hash);
      state.advance();
      this.#outbox.looked();
      if (this.#outbox.isReady) yield* this.drain();
    }
  }
}
