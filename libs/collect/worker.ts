import { parentPort, workerData } from 'node:worker_threads';
import { Chunker } from '../blocks/chunker.ts';
import { FrameSealer } from '../blocks/frame.ts';
import { EntryHasher, KeyedHasher } from '../model/digests.ts';
import { RecordWriter } from '../model/records.ts';
import { ENOENT, PosixError, Stat } from '../posix/index.ts';
import { BlockBatch } from './block-batch.ts';
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

/** While one lane waits for an answer, the other one works. */
const LANES = 2;
/** A body's size at which it is closed; a change-events message holds at most 512 KiB. */
const BODY_BYTES = 384 * 1024;
const BODY_RECORDS = 1000;

const port = parentPort!;
const setup = workerData as WorkerSetup;
const send = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
const ownBuffer = (bytes: Uint8Array): ArrayBuffer[] =>
  bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
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
const waiting: Task[] = [];
const idle: ((task: Task) => void)[] = [];
const answers = new Map<number, (missing: Uint8Array | undefined) => void>();

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

class Lane {
  readonly #lane: number;
  readonly #content: ContentReader;
  readonly #entries: EntryReader;
  #task = 0;

  constructor(lane: number) {
    this.#lane = lane;
    const sink = {
      missing: async (ids: Buffer) =>
        (await this.#exchange({ type: 'ask', lane, task: this.#task, ids }, ownBuffer(ids)))!,
      frames: async (frames: Parameters<BlockSinkFrames>[0]) => {
        const transfer = frames.flatMap((frame) => ownBuffer(frame.bytes));
        await this.#exchange({ type: 'frames', lane, task: this.#task, frames }, transfer);
      },
    };
    const batch = new BlockBatch(sink, sealer, new KeyedHasher(asBuffer(setup.dedupKey)));
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

  #exchange(message: FromWorker, transfer: ArrayBuffer[]): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      answers.set(this.#lane, resolve);
      send(message, transfer);
    });
  }

  async run(): Promise<never> {
    for (;;) {
      const task = waiting.shift() ?? (await new Promise<Task>((resolve) => idle.push(resolve)));
      const result = await this.#read(task);
      send({ type: 'result', lane: this.#lane, result });
    }
  }

  async #read(task: Task): Promise<TaskResult> {
    this.#task = task.id;
    const items = task.groups.reduce((sum, group) => sum + group.items.length, 0);
    const outcomes = new Uint8Array(items);
    const hashes = Buffer.alloc(items * 32);
    const problems: ItemProblem[] = [];
    const records = new TaskRecords();
    const walked = new Stat();
    let item = 0;
    let bytesRead = 0;
    for (const { dirFd, dir, items: members } of task.groups) {
      for (const { name, stat } of members) {
        walked.buffer.set(stat);
        outcomes[item] = await this.#readItem(item, dirFd, asBuffer(dir), asBuffer(name), walked, {
          hashes,
          problems,
          records,
        });
        bytesRead += walked.sizeNumber;
        item++;
      }
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
      return entry.trusted ? Outcome.read : Outcome.untrusted;
    } catch (error) {
      if (!(error instanceof PosixError)) throw error;
      if (error.errno === ENOENT) return Outcome.vanished;
      into.problems.push({ item, code: 1110, message: error.message });
      return Outcome.failed;
    }
  }
}

type BlockSinkFrames = import('./block-batch.ts').BlockSink['frames'];

port.on('message', (message: ToWorker) => {
  if (message.type === 'answer') {
    const answer = answers.get(message.lane);
    answers.delete(message.lane);
    answer?.(message.missing);
    return;
  }
  const next = idle.shift();
  if (next) next(message.task);
  else waiting.push(message.task);
});

for (let lane = 0; lane < LANES; lane++) {
  new Lane(lane).run().catch((error) => {
    send({
      type: 'error',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      code: error?.code,
    });
  });
}
