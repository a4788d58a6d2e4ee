import type { BlockIntake, SealedFrame } from '../blocks/intake.ts';
import { release } from '../codec/release.ts';
import type { WrappedKey } from '../commit/pack-intake.ts';
import { writerRoutes } from '../contracts/api/writer.ts';
import { encodeFrames } from '../contracts/frame-stream.ts';
import { TmError } from '../model/errors.ts';
import type { Pace } from '../store/pace.ts';
import { QuestionBatch } from './question-batch.ts';
import type { Writers } from './writers.ts';

const ID_BYTES = 32;
const MIB = 1024 * 1024;
const DEFAULT_PACK_BYTES = 16 * MIB;
/** Of a pack's indexes: far below the stream's limit, and tens of thousands of blocks in the writer's memory. */
const INDEX_BYTES = 4 * MIB;
const PACKS_AT_ONCE = 2;
/** Each worker asks for two tasks: what the others ask meanwhile goes together. */
const QUESTIONS_AT_ONCE = 2;
/** Milliseconds in which a writer may say nothing while it stores a pack. */
const PUT_TIMEOUT = 120_000;

export interface RemoteIntakeOptions {
  readonly writers: Writers;
  readonly backupId: string;
  /** The wrapped form of a data key that frames were sealed with. */
  readonly wrappedKey: (keyId: Buffer) => Promise<WrappedKey>;
  readonly packBytes?: number;
  /** Slows uploads down; default: as fast as it goes. */
  readonly pace?: Pace | undefined;
}

/** Frames that become one pack. */
class Gathering {
  readonly frames: SealedFrame[] = [];
  readonly #settled = Promise.withResolvers<void>();
  bytes = 0;
  indexBytes = 0;

  constructor() {
    this.#settled.promise.catch(() => {});
  }

  get durable(): Promise<void> {
    return this.#settled.promise;
  }

  add(frame: SealedFrame): void {
    this.frames.push(frame);
    this.bytes += frame.bytes.length;
    this.indexBytes += frame.index.length;
  }

  done(): void {
    for (const { bytes } of this.frames) release(bytes);
    this.#settled.resolve();
  }

  fail(error: unknown): void {
    this.#settled.reject(error);
  }
}

/**
 * The agent's way to the storage writers. `durable` is a writer's answer. Frames wait in memory until it is there, for
 * a retry sends the same bytes: two packs on their way and one being gathered, no more.
 */
export class RemoteIntake implements BlockIntake {
  readonly #options: RemoteIntakeOptions;
  readonly #questions: QuestionBatch;
  readonly #sending = new Set<Promise<void>>();
  /** Data keys by id, put or being put. */
  readonly #keys = new Map<string, Promise<void>>();
  #gathering = new Gathering();
  #failure: unknown;

  constructor(options: RemoteIntakeOptions) {
    this.#options = options;
    this.#questions = new QuestionBatch((ids) => this.#ask(ids), QUESTIONS_AT_ONCE);
  }

  missing(ids: Buffer): Promise<Uint8Array> {
    return this.#questions.ask(ids);
  }

  put(frames: readonly SealedFrame[]): { accepted: Promise<void>; durable: Promise<void> } {
    if (this.#failure) throw this.#failure;
    const waitFor = new Set<Promise<void>>();
    for (const frame of frames) {
      if (!this.#hasRoom(frame)) this.#send();
      this.#gathering.add(frame);
      waitFor.add(this.#gathering.durable);
    }
    const durable = Promise.all(waitFor).then(() => {});
    durable.catch(() => {});
    return { accepted: this.#room(), durable };
  }

  async flush(): Promise<void> {
    this.#send();
    await Promise.all(this.#sending);
    if (this.#failure) throw this.#failure;
  }

  #hasRoom({ bytes, index }: SealedFrame): boolean {
    const { packBytes = DEFAULT_PACK_BYTES } = this.#options;
    const { bytes: held, indexBytes } = this.#gathering;
    return held === 0 || (held + bytes.length <= packBytes && indexBytes + index.length <= INDEX_BYTES);
  }

  async #room(): Promise<void> {
    while (this.#sending.size >= PACKS_AT_ONCE && !this.#failure) await Promise.race(this.#sending);
    if (this.#failure) throw this.#failure;
  }

  #send(): void {
    const pack = this.#gathering;
    if (pack.frames.length === 0) return;
    this.#gathering = new Gathering();
    const sending = this.#upload(pack.frames).then(
      () => pack.done(),
      (error) => {
        this.#failure ??= error;
        pack.fail(error);
      },
    );
    this.#sending.add(sending);
    sending.finally(() => this.#sending.delete(sending));
  }

  async #upload(frames: readonly SealedFrame[]): Promise<void> {
    const { writers, backupId, pace } = this.#options;
    const keyIds = new Map(frames.map(({ keyId }) => [keyId.toString('hex'), keyId]));
    await Promise.all([...keyIds].map(([name, id]) => this.#putKey(name, id)));
    const body = [...encodeFrames(frames)];
    await pace?.take(
      body.reduce((sum, { length }) => sum + length, 0),
      pace.now,
    );
    await writers.call(writerRoutes.putFrames, { params: { id: backupId }, body }, { timeout: PUT_TIMEOUT });
  }

  #putKey(name: string, id: Buffer): Promise<void> {
    let put = this.#keys.get(name);
    if (!put) {
      const { writers, backupId, wrappedKey } = this.#options;
      const params = { id: backupId, keyId: name };
      put = wrappedKey(id).then(({ wrapped }) =>
        writers.call(writerRoutes.putKey, { params, body: wrapped }),
      );
      this.#keys.set(name, put);
    }
    return put;
  }

  async #ask(ids: Buffer): Promise<Uint8Array> {
    const { writers, backupId } = this.#options;
    const answer = await writers.call(writerRoutes.missing, { params: { id: backupId }, body: ids });
    // A wrong answer would leave blocks out.
    if (answer.length !== ids.length / ID_BYTES || answer.some((byte) => byte > 1))
      throw new TmError('TM1806', 'which blocks are missing');
    return answer;
  }
}
