import { setImmediate } from 'node:timers/promises';
import type { BlockIntake } from '../blocks/intake.ts';
import type { Seal } from '../contracts/messages.ts';
import { DigestSum } from '../model/digests.ts';
import { isNote, TmError } from '../model/errors.ts';
import type { OpenedBackup } from '../registry/port.ts';
import {
  LeftOut,
  type Scan,
  type ScanEntry,
  type StateWriter,
  type WorkBatch,
  type WorkItem,
} from '../scan/index.ts';
import type { Transport } from '../transport/port.ts';
import { BlockLedger } from './block-ledger.ts';
import { EventPublisher } from './event-publisher.ts';
import { Outcome, type TaskResult, type WorkerSetup } from './protocol.ts';
import { packTask } from './task.ts';
import { untilSettled } from './until-settled.ts';
import { WorkerPool } from './worker-pool.ts';

/** An entry that could not be read, was skipped, or is flagged; for the person. */
export interface CollectProblem {
  readonly code: number;
  readonly dir: Buffer;
  readonly name: Buffer;
  readonly message: string;
}

/** What was read so far; `totalBytes` of what there is to read is known once the walk is over. */
export interface CollectProgress {
  readonly files: number;
  readonly bytes: number;
  readonly totalBytes: number | undefined;
  readonly newBytes: number;
}

export interface CollectDeps {
  readonly scan: Scan;
  readonly state: StateWriter;
  readonly intake: BlockIntake;
  readonly transport: Transport;
  /** Asked once, when there is something to read: an unchanged tree needs no worker and no data key. */
  readonly workers: () => Promise<readonly WorkerSetup[]>;
  readonly opened: OpenedBackup;
  readonly now: () => Date;
  readonly onProblem: (problem: CollectProblem) => void;
  readonly onProgress: (progress: CollectProgress) => void;
  /** All patches of the new state are in; called before the seal goes out. */
  readonly onState: (stateDigest: Buffer) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Work that is out with the workers, by task. */
interface Pending {
  readonly batch: WorkBatch;
  readonly items: readonly { dir: Buffer; item: WorkItem }[];
}

/**
 * The agent's part of one backup: pulls the scan, has the workers read what changed, publishes change events once
 * their blocks are durable, keeps the state digest, and seals. Work in flight is bounded by the pool.
 */
export class Collector {
  readonly #deps: CollectDeps;
  readonly #ledger: BlockLedger;
  readonly #publisher: EventPublisher;
  #pool: WorkerPool | undefined;
  readonly #pending = new Map<number, Pending>();
  /** Results whose publishing is under way. */
  readonly #settling = new Set<Promise<void>>();
  /** State digest counted from the base's. */
  readonly #digest: DigestSum;
  /** Sum over all that was read, and what could not be: with what the scan kept the state digest of a full. */
  readonly #read = new DigestSum();
  readonly #leftOut = new LeftOut();
  #problems = 0;
  #failure: unknown;
  #wake: () => void = () => {};
  /** Progress so far. */
  #files = 0;
  #bytes = 0;
  #workBytes = 0;
  #hasWalked = false;

  constructor(deps: CollectDeps) {
    this.#deps = deps;
    this.#ledger = new BlockLedger(deps.intake);
    const { backup } = deps.opened;
    const { id: backupId, sourceId, epoch } = backup;
    this.#publisher = new EventPublisher(deps.transport, { backupId, sourceId, epoch, shard: 0, schema: 1 });
    this.#digest = DigestSum.from(deps.opened.baseDigest);
  }

  async #workers(): Promise<WorkerPool> {
    this.#pool ??= new WorkerPool(await this.#deps.workers(), {
      missing: (task, ids) => this.#ledger.missing(task, ids),
      frames: (task, frames) => this.#ledger.frames(task, frames),
      result: (result) => this.#settle(result),
      failed: (error) => this.#fail(error),
    });
    return this.#pool;
  }

  /** Resolves when the seal is out; the commit comes after. */
  async run(): Promise<void> {
    const onAbort = () => this.#fail(new TmError('TM1508'));
    this.#deps.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      if (this.#deps.signal?.aborted) onAbort();
      const readFrom = this.#deps.now().getTime();
      await this.#pull();
      await this.#drain();
      const stateDigest = this.#stateDigest();
      this.#deps.onState(stateDigest);
      await this.#publisher.seal({
        stateDigest,
        totals: this.#totals(),
        readFrom,
        readTo: this.#deps.now().getTime(),
        rootHint: this.#deps.scan.rootHint(),
      });
    } finally {
      this.#deps.signal?.removeEventListener('abort', onAbort);
      await this.#pool?.close();
    }
  }

  #totals(): Seal['totals'] {
    const held = this.#leftOut.from(this.#deps.scan.totals);
    const { newBytes, storedBytes } = this.#ledger;
    return { ...held, newBytes, storedBytes, problems: this.#problems };
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#wake();
  }

  async #pull(): Promise<void> {
    for (;;) {
      await this.#until(() => this.#pool?.ready ?? true);
      const step = this.#deps.scan.next();
      this.#hasWalked = step.type === 'end';
      if (step.type === 'end') return;
      if (step.type === 'work') this.#submit(step.batch, await this.#workers());
      else if (step.type === 'gone') for (const entry of step.entries) await this.#gone(entry, entry.hash);
      else if (step.type === 'kept') for (const entry of step.entries) await this.#kept(entry, entry.message);
      else if (step.type === 'note')
        for (const entry of step.entries) this.#problem(entry, entry.code, entry.message);
      await setImmediate();
      this.#progress();
    }
  }

  #progress(): void {
    const totalBytes = this.#hasWalked ? this.#workBytes : undefined;
    const newBytes = this.#ledger.newBytes;
    this.#deps.onProgress({ files: this.#files, bytes: this.#bytes, totalBytes, newBytes });
  }

  /** Waits until `condition` holds; a failure anywhere ends the wait. */
  async #until(condition: () => boolean): Promise<void> {
    while (!this.#failure && !condition())
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    if (this.#failure) throw this.#failure;
  }

  #submit(batch: WorkBatch, pool: WorkerPool): void {
    const items = batch.groups.flatMap(({ dir, items: members }) => members.map((item) => ({ dir, item })));
    this.#pending.set(batch.id, { batch, items });
    this.#workBytes += batch.bytes;
    pool.submit(packTask(batch));
  }

  #settle(result: TaskResult): void {
    const settling = this.#publish(result).catch((error) => this.#fail(error));
    this.#settling.add(settling);
    settling.finally(() => {
      this.#settling.delete(settling);
      this.#wake();
    });
    this.#wake();
  }

  async #publish(result: TaskResult): Promise<void> {
    const { batch, items } = this.#pending.get(result.id)!;
    this.#pending.delete(result.id);
    this.#deps.scan.release(batch.id);
    for (let i = 0; i < items.length; i++) await this.#account(items[i]!, i, result);
    await this.#ledger.durable(result.id);
    for (const { bytes, count } of result.bodies) {
      await this.#publisher.body(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), count);
    }
    this.#files += items.length;
    this.#bytes += batch.bytes;
    this.#progress();
  }

  /** Takes one entry's outcome into the state digest and the new state file. */
  async #account(
    { dir, item }: { dir: Buffer; item: WorkItem },
    i: number,
    result: TaskResult,
  ): Promise<void> {
    const outcome = result.outcomes[i];
    const hash = Buffer.from(result.hashes.buffer, result.hashes.byteOffset + i * 32, 32);
    const entry = { dir, name: item.name };
    const problem = result.problems.find((one) => one.item === i);
    if (outcome === Outcome.vanished) {
      this.#deps.state.void(item.handle);
      this.#leftOut.add(item);
      if (item.previousHash) await this.#gone(entry, item.previousHash);
    } else if (outcome === Outcome.failed) {
      await this.#kept({ ...entry, code: problem?.code ?? 1110 }, problem?.message ?? 'it could not be read');
      if (item.previousHash) {
        this.#read.add(item.previousHash);
        this.#deps.state.patch(item.handle, { hash: item.previousHash, trusted: false });
      } else {
        this.#deps.state.void(item.handle);
        this.#leftOut.add(item);
      }
    } else {
      this.#digest.add(hash);
      this.#read.add(hash);
      if (item.previousHash) this.#digest.subtract(item.previousHash);
      this.#deps.state.patch(item.handle, { hash, trusted: outcome === Outcome.read });
      if (problem) this.#problem(entry, problem.code, problem.message);
    }
  }

  async #gone(entry: { dir: Buffer; name: Buffer }, hash: Buffer): Promise<void> {
    this.#digest.subtract(hash);
    await this.#publisher.gone(entry);
  }

  /** A full trusts no state, so that it counts from zero: a state that is wrong is found by the registry's own sum. */
  #stateDigest(): Buffer {
    if (this.#deps.opened.backup.kind !== 'full') return this.#digest.bytes();
    return this.#read.add(this.#deps.scan.keptDigest()).bytes();
  }

  async #kept(entry: Omit<ScanEntry, 'message'>, message: string): Promise<void> {
    this.#problem(entry, entry.code, message);
    await this.#publisher.kept(entry);
  }

  #problem(entry: { dir: Buffer; name: Buffer }, code: number, message: string): void {
    if (!isNote(code)) this.#problems++;
    this.#deps.onProblem({ code, dir: entry.dir, name: entry.name, message });
  }

  async #drain(): Promise<void> {
    await this.#until(() => this.#pool?.idle ?? true);
    await untilSettled(this.#settling, () => {
      if (this.#failure) throw this.#failure;
      return this.#deps.intake.flush();
    });
    if (this.#failure) throw this.#failure;
  }
}
