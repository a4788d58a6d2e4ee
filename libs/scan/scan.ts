import { TmError } from '../model/errors.ts';
import { bytesToDisplay, ROOT, type TreePath } from '../model/tree-path.ts';
import { fstat, openDirAt, PosixError, Stat } from '../posix/index.ts';
import { Comparison } from './comparison.ts';
import { WalkedDirectory } from './directory-stack.ts';
import { OpenDirectory } from './open-directory.ts';
import { EMIT_LIMITS, Outbox } from './outbox.ts';
import type { ScanSource } from './port.ts';
import { encodeRootHint } from './root-check.ts';
import { SameChunks } from './same-chunks.ts';
import type { ScanOptions } from './scan-options.ts';
import { StateReader } from './state-reader.ts';
import type { ScanStep, ScanTotals } from './steps.ts';
import { Walk } from './walk.ts';

export type { GoneEntry, ScanEntry, ScanStep, ScanTotals, WorkBatch, WorkGroup, WorkItem } from './steps.ts';

const HERE = Buffer.from('.');

/**
 * Walks a source and merges it with its last known state, both in the order of (dir, name): gives out what has to be
 * read and what is gone, and writes the new state. It goes on only while `next` is called, so that the caller sets
 * the pace; descriptors stay open for batches until they are released. One scan is one object.
 */
export class Scan implements ScanSource {
  readonly #options: ScanOptions;
  readonly #state: StateReader;
  readonly #outbox: Outbox;
  readonly #stat = new Stat();
  readonly #root: WalkedDirectory;
  readonly #comparison: Comparison;
  readonly #walk: Walk;
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
    const chunks = new SameChunks(options, this.#state, this.#outbox, this.#comparison);
    this.#walk = new Walk(options, this.#state, this.#outbox, this.#comparison, chunks);
    this.#walk.stack.push(this.#root);
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
    return this.#walk.stack.top?.path ?? ROOT;
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
    this.#walk.stack.close();
    this.#outbox.close();
  }

  *#run(): Generator<ScanStep, void> {
    this.#state.rewind();
    this.#options.stateWriter.enter(ROOT);
    this.#enterRoot();
    yield* this.#walk.merge();
    yield* this.#walk.rest(0);
    yield* this.#walk.goneBefore(undefined);
    this.#outbox.flush();
    yield* this.#walk.drain();
    yield { type: 'end' };
  }

  #openRoot(): WalkedDirectory {
    const fd = openDirAt(this.#options.rootFd, HERE);
    this.#checkRoot(fd, 'openat');
    this.#checkRoot(fstat(fd, this.#stat), 'statx');
    return new WalkedDirectory(ROOT, new OpenDirectory(fd), this.#stat);
  }

  #enterRoot(): void {
    const root = this.#root;
    const open = root.open!;
    this.#checkRoot(this.#walk.list(open.fd), 'getdents64');
    this.#rootHint = encodeRootHint(open.fd, root.ino, this.#walk.names.count);
    this.#walk.leaveOut(root, open.fd, this.#options.excludes);
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
}
