import { MAX_IDS } from '../contracts/api/writer.ts';

const ID_BYTES = 32;

interface Question {
  readonly ids: Buffer;
  readonly answer: (missing: Uint8Array) => void;
  readonly fail: (error: unknown) => void;
}

/** Makes few requests of many questions: what is asked while requests are out goes into the next one. */
export class QuestionBatch {
  readonly #ask: (ids: Buffer) => Promise<Uint8Array>;
  readonly #atOnce: number;
  #waiting: Question[] = [];
  #out = 0;

  constructor(ask: (ids: Buffer) => Promise<Uint8Array>, atOnce: number) {
    this.#ask = ask;
    this.#atOnce = atOnce;
  }

  /** A byte for each id. */
  async ask(ids: Buffer): Promise<Uint8Array> {
    const parts: Promise<Uint8Array>[] = [];
    for (let at = 0; at < ids.length; at += MAX_IDS * ID_BYTES)
      parts.push(this.#put(ids.subarray(at, at + MAX_IDS * ID_BYTES)));
    return Buffer.concat(await Promise.all(parts));
  }

  #put(ids: Buffer): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#waiting.push({ ids, answer: resolve, fail: reject });
    queueMicrotask(() => this.#pump());
    return promise;
  }

  #pump(): void {
    while (this.#out < this.#atOnce && this.#waiting.length > 0) {
      this.#out++;
      this.#send(this.#take()).finally(() => {
        this.#out--;
        this.#pump();
      });
    }
  }

  #take(): Question[] {
    let bytes = 0;
    let count = 0;
    for (const { ids } of this.#waiting) {
      bytes += ids.length;
      if (bytes > MAX_IDS * ID_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #send(questions: readonly Question[]): Promise<void> {
    try {
      const missing = await this.#ask(Buffer.concat(questions.map(({ ids }) => ids)));
      let at = 0;
      for (const { ids, answer } of questions) {
        const end = at + ids.length / ID_BYTES;
        answer(missing.subarray(at, end));
        at = end;
      }
    } catch (error) {
      for (const { fail } of questions) fail(error);
    }
  }
}
