import { parentPort, workerData } from 'node:worker_threads';
import { Chunker } from '../blocks/chunker.ts';
import { FrameSealer } from '../blocks/frame.ts';
import type { SealedFrame } from '../blocks/intake.ts';
import { EntryHasher, KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { RecordWriter } from '../model/records.ts';
import { sendError } from '../model/sent-error.ts';
import { EMFILE, ENFILE, ENOENT, ENOMEM, PosixError, Stat } from '../posix/index.ts';
import { BlockBatch, type BlockSink } from './block-batch.ts';
import { ContentReader } from './content-reader.ts';
import { EntryReader } from './entry-reader.ts';
import { namesById } from './names.ts';
import {
  type FromWorker,
  type ItemProblem,
  Outcome,
  type Task,
  type TaskResult,
  type ToWorker,
  type WorkerSetup,
} from './protocol.ts';
import { unpackTask } from './task.ts';

/** For want of these every file looks unreadable: no fact about the source. */
const EXHAUSTED: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOMEM]);
/** While one lane waits for an answer, the other one works. */
const LANES = 2;
/** A body's size at which it is closed; a change-events message holds at most 512 KiB. */
const BODY_BYTES = 384 * 1024;
const BODY_RECORDS = 1000;

const port = parentPort!;
const setup = workerData as WorkerSetup;
const send = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const sealer = new FrameSealer({
  domainId: setup.domainId,
  keyId: asBuffer(setup.dataKey.id),
  key: asBuffer(setup.dataKey.key),
  firstFrameNo: setup.dataKey.firstFrameNo,
  endFrameNo: setup.dataKey.endFrameNo,
});
const entryHasher = new EntryHasher(asBuffer(setup.sourceKey));
const users = namesById('/etc/passwd');
const groups = namesById('/etc/group');
const lackingText = ({ message }: PosixError) =>
  `it is recorded without its extended attributes, which could not be read: ${message}`;
const waiting: Task[] = [];
const idle: ((task: Task) => void)[] = [];

/** Records of one task, split into bodies that fit a message. */
class TaskRecords {
  readonly #writer = new RecordWriter();
  readonly bodies: { bytes: Buffer; count: number }[] = [];

  add(dir: Buffer, name: Buffer, state: Buffer, hints: Buffer): void {
    this.#writer.present(dir, name, state, hints);
    if (this.#writer.bytes >= BODY_BYTES || this.#writer.count >= BODY_RECORDS) this.close();
  }

  close(): void {
    const count = this.#writer.count;
    if (count > 0) this.bodies.push({ count, bytes: this.#writer.finish() });
  }
}

class Lane implements BlockSink {
  readonly #lane: number;
  readonly #content: ContentReader;
  readonly #entries: EntryReader;
  #task = 0;
  #missing: ((missing: Uint8Array) => void) | undefined;
  /** Resolves when the frames sent last were taken: the lane is one message ahead at most. */
  #taken: Promise<void> = Promise.resolve();
  #accepted: (() => void) | undefined;

  constructor(lane: number) {
    this.#lane = lane;
    const batch = new BlockBatch(this, sealer, new KeyedHasher(asBuffer(setup.dedupKey)));
    this.#content = new ContentReader(
      new Chunker(asBuffer(setup.gearSeed)),
      batch,
      new KeyedHasher(asBuffer(setup.digestKey)),
    );
    const { rootDev, startedAtNs, granularityNs } = setup;
    const linkIds = new KeyedHasher(asBuffer(setup.sourceKey));
    this.#entries = new EntryReader({
      content: this.#content,
      batch,
      linkIds,
      users,
      groups,
      rootDev,
      startedAtNs,
      granularityNs,
    });
  }

  missing(ids: Buffer): Promise<Uint8Array> {
    return new Promise((resolve) => {
      this.#missing = resolve;
      send({ type: 'ask', lane: this.#lane, task: this.#task, ids }, [ids.buffer as ArrayBuffer]);
    });
  }

  async frames(frames: readonly SealedFrame[]): Promise<void> {
    await this.#taken;
    this.#taken = new Promise((resolve) => {
      this.#accepted = resolve;
    });
    const moved = frames.map((frame) => frame.bytes.buffer as ArrayBuffer);
    send({ type: 'frames', lane: this.#lane, task: this.#task, frames }, moved);
  }

  answer(missing: Uint8Array): void {
    this.#missing?.(missing);
  }

  accepted(): void {
    this.#accepted?.();
  }

  async run(): Promise<never> {
    for (;;) {
      const task = waiting.shift() ?? (await new Promise<Task>((resolve) => idle.push(resolve)));
      const result = await this.#read(task);
      const moved = [result.hashes, ...result.bodies.map(({ bytes }) => bytes)];
      send(
        { type: 'result', lane: this.#lane, result },
        moved.map((bytes) => bytes.buffer as ArrayBuffer),
      );
    }
  }

  async #read(task: Task): Promise<TaskResult> {
    this.#task = task.id;
    const outcomes = new Uint8Array(task.count);
    const hashes = Buffer.from(new ArrayBuffer(task.count * 32));
    const problems: ItemProblem[] = [];
    const records = new TaskRecords();
    const walked = new Stat();
    let item = 0;
    let bytesRead = 0;
    for (const { dirFd, dir, name, stat } of unpackTask(task)) {
      walked.buffer.set(stat);
      outcomes[item] = await this.#readItem(item, dirFd, dir, name, walked, { hashes, problems, records });
      bytesRead += walked.sizeNumber;
      item++;
    }
    await this.#content.flush();
    records.close();
    return { id: task.id, bodies: records.bodies, outcomes, hashes, problems, bytesRead };
  }

  async #readItem(
    item: number,
    dirFd: number,
    dir: Buffer,
    name: Buffer,
    walked: Stat,
    into: { hashes: Buffer; problems: ItemProblem[]; records: TaskRecords },
  ): Promise<number> {
    try {
      const entry = await this.#entries.read(dirFd, name, walked);
      entryHasher.hash(dir, name, entry.state).copy(into.hashes, item * 32);
      into.records.add(dir, name, entry.state, entry.hints);
      if (entry.inconsistent)
        into.problems.push({ item, code: 1111, message: 'it changed while it was read, twice' });
      if (entry.lacking && entry.lacking.errno !== ENOENT)
        into.problems.push({ item, code: 1110, message: lackingText(entry.lacking) });
      return entry.trusted ? Outcome.read : Outcome.untrusted;
    } catch (error) {
      if (!(error instanceof PosixError)) throw error;
      if (EXHAUSTED.has(error.errno)) throw new TmError('TM1011', error.message, { cause: error });
      if (error.errno === ENOENT) return Outcome.vanished;
      into.problems.push({ item, code: 1110, message: error.message });
      return Outcome.failed;
    }
  }
}

const lanes = Array.from({ length: LANES }, (_, lane) => new Lane(lane));

port.on('message', (message: ToWorker) => {
  if (message.type === 'missing') lanes[message.lane]?.answer(message.missing);
  else if (message.type === 'accepted') lanes[message.lane]?.accepted();
  else if (message.type === 'close') {
    sealer.close();
    process.exit(0);
  } else {
    const next = idle.shift();
    if (next) next(message.task);
    else waiting.push(message.task);
  }
});

for (const lane of lanes) {
  lane.run().catch((error) => send({ type: 'error', error: sendError(error) }));
}
