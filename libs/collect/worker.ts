import { parentPort, workerData } from 'node:worker_threads';
import { Chunker } from '../blocks/chunker.ts';
import { FrameSealer } from '../blocks/frame.ts';
import type { SealedFrame } from '../blocks/intake.ts';
import { type Body, BodyWriter } from '../contracts/wire/body-writer.ts';
import { EntryHasher, KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { sendError } from '../model/sent-error.ts';
import { EMFILE, ENFILE, ENOENT, ENOMEM, PosixError, Stat } from '../posix/index.ts';
import { BlockBatch, type BlockSink } from './block-batch.ts';
import { ContentReader } from './content-reader.ts';
import { EntryReader, type ReadEntry } from './entry-reader.ts';
import { namesById } from './names.ts';
import {
  type BackupStart,
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
/** While others wait for an answer or for frames that are compressed on other threads, one works. */
const LANES = 3;

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
  compression: setup.compression,
});
const entryHasher = new EntryHasher(asBuffer(setup.sourceKey));
let users = namesById('/etc/passwd');
let groups = namesById('/etc/group');
const lackingText = ({ message }: PosixError) =>
  `it is recorded without its extended attributes, which could not be read: ${message}`;
const waiting: Task[] = [];
const idle: ((task: Task) => void)[] = [];

/** Records of one task, split into bodies that fit a message. */
class TaskRecords {
  readonly #writer = new BodyWriter();
  readonly bodies: Body[] = [];

  add(dir: Buffer, name: Buffer, state: Buffer, hints: Buffer): void {
    this.#keep(this.#writer.present(dir, name, state, hints));
  }

  close(): void {
    this.#keep(this.#writer.finish());
  }

  #keep(body: Body | undefined): void {
    if (body) this.bodies.push(body);
  }
}

class Lane implements BlockSink {
  readonly #lane: number;
  readonly #content: ContentReader;
  readonly #batch: BlockBatch;
  #entries: EntryReader;
  #task = 0;
  #missing: ((missing: Uint8Array) => void) | undefined;
  /** Resolves when the frames sent last were taken: the lane is one message ahead at most. */
  #taken: Promise<void> = Promise.resolve();
  #accepted: (() => void) | undefined;

  constructor(lane: number) {
    this.#lane = lane;
    this.#batch = new BlockBatch(this, sealer, new KeyedHasher(asBuffer(setup.dedupKey)));
    this.#content = new ContentReader(
      new Chunker(asBuffer(setup.gearSeed)),
      this.#batch,
      new KeyedHasher(asBuffer(setup.digestKey)),
    );
    this.#entries = this.#reader(setup);
  }

  #reader({ rootDev, startedAtNs }: BackupStart): EntryReader {
    return new EntryReader({
      content: this.#content,
      batch: this.#batch,
      linkIds: new KeyedHasher(asBuffer(setup.sourceKey)),
      users,
      groups,
      rootDev,
      startedAtNs,
      granularityNs: setup.granularityNs,
    });
  }

  /** The tasks that follow are of another backup. */
  begin(start: BackupStart): void {
    this.#entries = this.#reader(start);
  }

  missing(ids: Buffer, bytes: number): Promise<Uint8Array> {
    return new Promise((resolve) => {
      this.#missing = resolve;
      send({ type: 'ask', lane: this.#lane, task: this.#task, ids, bytes }, [ids.buffer as ArrayBuffer]);
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
    for (const { dirFd, dir, name, stat, known } of unpackTask(task)) {
      if (known) {
        entryHasher.hash(dir, name, known.state).copy(hashes, item * 32);
        records.add(dir, name, known.state, known.hints);
        outcomes[item++] = Outcome.read;
        continue;
      }
      walked.buffer.set(stat);
      try {
        const read = this.#entries.read(dirFd, name, walked);
        const entry = read instanceof Promise ? await read : read;
        entryHasher.hash(dir, name, entry.state).copy(hashes, item * 32);
        records.add(dir, name, entry.state, entry.hints);
        noteFlaws(entry, item, problems);
        outcomes[item] = entry.trusted ? Outcome.read : Outcome.untrusted;
      } catch (error) {
        outcomes[item] = outcomeOf(error, item, problems);
      }
      bytesRead += walked.sizeNumber;
      item++;
    }
    await this.#content.flush();
    records.close();
    return { id: task.id, bodies: records.bodies, outcomes, hashes, problems, bytesRead };
  }
}

/** What a person has to know of an entry that was recorded. */
function noteFlaws({ inconsistent, lacking }: ReadEntry, item: number, problems: ItemProblem[]): void {
  if (inconsistent) problems.push({ item, code: 1111, message: 'it changed while it was read, twice' });
  if (lacking && lacking.errno !== ENOENT) problems.push({ item, code: 1110, message: lackingText(lacking) });
}

/** Of an entry that was not recorded. Throws what is no fact about the source. */
function outcomeOf(error: unknown, item: number, problems: ItemProblem[]): number {
  if (!(error instanceof PosixError)) throw error;
  if (EXHAUSTED.has(error.errno)) throw new TmError('TM1011', error.message, { cause: error });
  if (error.errno === ENOENT) return Outcome.vanished;
  problems.push({ item, code: 1110, message: error.message });
  return Outcome.failed;
}

const lanes = Array.from({ length: LANES }, (_, lane) => new Lane(lane));

port.on('message', (message: ToWorker) => {
  if (message.type === 'missing') lanes[message.lane]?.answer(message.missing);
  else if (message.type === 'accepted') lanes[message.lane]?.accepted();
  else if (message.type === 'begin') {
    users = namesById('/etc/passwd');
    groups = namesById('/etc/group');
    for (const lane of lanes) lane.begin(message.start);
  } else if (message.type === 'close') {
    void sealer.close().then(() => process.exit(0));
  } else {
    const next = idle.shift();
    if (next) next(message.task);
    else waiting.push(message.task);
  }
});

for (const lane of lanes) {
  lane.run().catch((error) => send({ type: 'error', error: sendError(error) }));
}
