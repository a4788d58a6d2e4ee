import { setImmediate } from 'node:timers/promises';
import type { BlockIntake } from '../blocks/intake.ts';
import type { Seal } from '../contracts/messages.ts';
import type { BackupInfo } from '../model/backup.ts';
import { DigestSum } from '../model/digests.ts';
import { isNote, TmError } from '../model/errors.ts';
import {
  LeftOut,
  type NewState,
  type ScanEntry,
  type ScanSource,
  type WorkBatch,
  type WorkItem,
} from '../scan/index.ts';
import type { Transport } from '../transport/port.ts';
import { BlockLedger } from './block-ledger.ts';
import { EventPublisher } from './event-publisher.ts';
import type { KnownEntries, Resumed } from './known-entries.ts';
import {
  type BackupStart,
  type ItemProblem,
  Outcome,
  type TaskResult,
  type WorkerSetup,
} from './protocol.ts';
import { packTask } from './task.ts';
import { untilSettled } from './until-settled.ts';
import type { WarmWorkers } from './warm-workers.ts';
import { type PoolEvents, WorkerPool } from './worker-pool.ts';

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

/** What collecting has to know of the backup that was opened. */
export interface OpenedForCollecting {
  readonly backup: Pick<BackupInfo, 'id' | 'sourceId' | 'seq' | 'epoch' | 'kind'>;
  /** State digest of the base; zeros when there is none. */
  readonly baseDigest: Buffer;
  /** Batches go to so many shards in turn; default 1. */
  readonly shards?: number;
}

export interface CollectDeps {
  readonly scan: ScanSource;
  readonly state: NewState;
  readonly intake: BlockIntake;
  readonly transport: Pick<Transport, 'publish'>;
  /** Asked once, when there is something to read: an unchanged tree needs no worker and no data key. */
  readonly workers: () => Promise<readonly WorkerSetup[]>;
  /** What workers that were made for an earlier backup have to be told. */
  readonly start: BackupStart;
  /** Has workers of earlier backups of the source. */
  readonly warm?: WarmWorkers | undefined;
  readonly opened: OpenedForCollecting;
  readonly now: () => Date;
  readonly onProblem: (problem: CollectProblem) => void;
  readonly onProgress: (progress: CollectProgress) => void;
  /** What an earlier attempt has read and this one used; told once all was read. */
  readonly onResumed?: ((resumed: Resumed) => void) | undefined;
  readonly resume: KnownEntries;
  /** All patches of the new state are in; called before the seal goes out. */
  readonly onState: (stateDigest: Buffer) => void;
  /** As Seal.gaps. */
  readonly gaps?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Work that is out with the workers. */
interface Pending {
  readonly batch: WorkBatch;
  /** Items that an earlier attempt has read. */
  readonly known: number;
  /** Bytes that count as done already. */
  read: number;
}
type TaskOutcome = Omit<TaskResult, 'id' | 'bodies' | 'bytesRead'>;

/**
 * The agent's part of one backup: pulls the scan, has the workers read what changed, publishes change events once
 * their blocks are durable, keeps the state digest, and seals. Work in flight is bounded by the pool.
 */
export class Collector {
  readonly #deps: CollectDeps;
  readonly #ledger: BlockLedger;
  readonly #publisher: EventPublisher;
  #pool: WorkerPool | undefined;
  /** Work that is out with the workers, by task. */
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
    const header = { backupId, sourceId, epoch, schema: 1 } as const;
    this.#publisher = new EventPublisher(deps.transport, header, deps.opened.shards);
    this.#digest = DigestSum.from(deps.opened.baseDigest);
  }

  async #workers(): Promise<WorkerPool> {
    this.#pool ??= await this.#takePool({
      missing: (task, ids, bytes) => {
        this.#readSome(task, bytes);
        return this.#ledger.missing(task, ids);
      },
      frames: (task, frames) => this.#ledger.frames(task, frames),
      result: (result) => this.#settle(result),
      failed: (error) => this.#fail(error),
    });
    return this.#pool;
  }

  async #takePool(events: PoolEvents): Promise<WorkerPool> {
    const { warm, workers, start } = this.#deps;
    return warm ? warm.take(workers, events, start) : new WorkerPool(await workers(), events);
  }

  async #closePool(succeeded: boolean): Promise<void> {
    if (!this.#pool) return;
    await (this.#deps.warm?.giveBack(this.#pool, succeeded) ?? this.#pool.close());
  }

  /** Resolves when the seal is out; the commit comes after. */
  async run(): Promise<void> {
    const { resume } = this.#deps;
    let isSealed = false;
    const onAbort = () => this.#fail(new TmError('TM1508'));
    this.#deps.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      if (this.#deps.signal?.aborted) onAbort();
      const began = this.#deps.now().getTime();
      await this.#pull();
      await this.#drain();
      if (resume.resumed.files > 0) this.#deps.onResumed?.(resume.resumed);
      const stateDigest = this.#stateDigest();
      this.#deps.onState(stateDigest);
      await this.#publisher.seal({
        stateDigest,
        totals: this.#totals(),
        readFrom: Math.min(began, resume.resumed.since),
        readTo: this.#deps.now().getTime(),
        rootHint: this.#deps.scan.rootHint(),
        ...(this.#deps.gaps && { gaps: this.#deps.gaps }),
      });
      isSealed = true;
    } finally {
      this.#deps.signal?.removeEventListener('abort', onAbort);
      resume.close(isSealed);
      await this.#closePool(isSealed);
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
      if (step.type === 'work') await this.#submit(step.batch, await this.#workers());
      else if (step.type === 'gone') for (const entry of step.entries) await this.#gone(entry, entry.hash);
      else if (step.type === 'kept') for (const entry of step.entries) await this.#kept(entry, entry.message);
      else if (step.type === 'note')
        for (const entry of step.entries) this.#problem(entry, entry.code, entry.message);
      await setImmediate();
      this.#progress();
    }
  }

  /** Of a task that is not done: counted until the whole task is, whose measure is what its files should have. */
  #readSome(task: number, bytes: number): void {
    const pending = this.#pending.get(task);
    if (!pending) return;
    const counted = Math.min(bytes, pending.batch.bytes - pending.read);
    pending.read += counted;
    this.#bytes += counted;
    this.#progress();
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

  async #submit(batch: WorkBatch, pool: WorkerPool): Promise<void> {
    const known = await this.#deps.resume.known(batch, (ids) => this.#deps.intake.missing(ids));
    this.#pending.set(batch.id, { batch, known: known.size, read: 0 });
    this.#workBytes += batch.bytes;
    pool.submit(packTask(batch, known));
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

  /** While it waits for the task's blocks it holds the records alone: a pack may hold those of a hundred tasks. */
  async #publish({ id, bodies, bytesRead, ...outcome }: TaskResult): Promise<void> {
    const { known, count, bytes } = await this.#account(id, outcome);
    const ids = this.#ledger.takeAsked(id);
    await this.#ledger.durable(id);
    if (known < count) this.#deps.resume.keep({ id, bodies, bytesRead }, known > 0 ? [] : ids);
    for (const body of bodies) await this.#publisher.body(body);
    this.#files += count;
    this.#bytes += bytes;
    this.#progress();
  }

  /** `bytes`: those that don't count as done yet. */
  async #account(id: number, outcome: TaskOutcome): Promise<{ known: number; count: number; bytes: number }> {
    const { batch, known, read } = this.#pending.get(id)!;
    this.#pending.delete(id);
    this.#deps.scan.release(id);
    await this.#accountAll(batch, outcome);
    return { known, count: batch.count, bytes: batch.bytes - read };
  }

  async #accountAll({ groups }: WorkBatch, result: TaskOutcome): Promise<void> {
    const { buffer, byteOffset, byteLength } = result.hashes;
    const hashes = Buffer.from(buffer, byteOffset, byteLength);
    const problems = new Map(result.problems.map((problem) => [problem.item, problem]));
    let i = 0;
    for (const { dir, items } of groups)
      for (const item of items) {
        const outcome = { outcome: result.outcomes[i], hashes, at: i * 32, problem: problems.get(i) };
        const accounted = this.#accountOne(dir, item, outcome);
        if (accounted) await accounted; // rarely: a promise for each of a million entries costs
        i++;
      }
  }

  /** Takes one entry's outcome into the state digest and the new state file; a promise where that publishes something. */
  #accountOne(
    dir: Buffer,
    item: WorkItem,
    {
      outcome,
      hashes,
      at,
      problem,
    }: { outcome: number | undefined; hashes: Buffer; at: number; problem: ItemProblem | undefined },
  ): Promise<void> | undefined {
    if (outcome === Outcome.vanished) {
      this.#deps.state.void(item.handle);
      this.#leftOut.add(item);
      return item.previousHash && this.#gone({ dir, name: item.name }, item.previousHash);
    }
    if (outcome === Outcome.failed) return this.#unread({ dir, name: item.name }, item, problem);
    this.#digest.add(hashes, at);
    this.#read.add(hashes, at);
    if (item.previousHash) this.#digest.subtract(item.previousHash);
    const hash = hashes.subarray(at, at + 32);
    this.#deps.state.patch(item.handle, { hash, trusted: outcome === Outcome.read });
    if (problem) this.#problem({ dir, name: item.name }, problem.code, problem.message);
    return undefined;
  }

  /** Its last version stays. */
  async #unread(
    entry: { dir: Buffer; name: Buffer },
    item: WorkItem,
    problem: ItemProblem | undefined,
  ): Promise<void> {
    await this.#kept({ ...entry, code: problem?.code ?? 1110 }, problem?.message ?? 'it could not be read');
    if (item.previousHash) {
      this.#read.add(item.previousHash);
      this.#deps.state.patch(item.handle, { hash: item.previousHash, trusted: false });
    } else {
      this.#deps.state.void(item.handle);
      this.#leftOut.add(item);
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
