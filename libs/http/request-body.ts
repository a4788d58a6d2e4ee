import type { IncomingMessage } from 'node:http';
import { TmError } from '../model/errors.ts';

export interface BodyLimits {
  readonly maxBytes: number;
  /** Milliseconds without a byte after which a body counts as cut. */
  readonly idle: number;
}

/**
 * The bytes of a request's body, read once. They come as the sender sends them, and no faster than they are taken.
 * Throws TM1809 (larger than allowed: at once where its length is stated), TM1810 (cut, or nothing came for too long).
 */
export class RequestBody implements AsyncIterable<Buffer> {
  readonly #request: IncomingMessage;
  readonly #limits: BodyLimits;
  /** As stated by the sender; undefined where it comes in chunks. */
  readonly length: number | undefined;

  constructor(request: IncomingMessage, limits: BodyLimits) {
    this.#request = request;
    this.#limits = limits;
    const stated = request.headers['content-length'];
    const chunked = request.headers['transfer-encoding'] !== undefined;
    this.length = stated === undefined ? (chunked ? undefined : 0) : Number(stated);
    if ((this.length ?? 0) > limits.maxBytes) throw this.#tooLarge();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    let bytes = 0;
    for (;;) {
      const chunk = await this.#next();
      if (!chunk) return;
      bytes += chunk.length;
      if (bytes > this.#limits.maxBytes) throw this.#tooLarge();
      yield chunk;
    }
  }

  /** All of it, in one buffer. */
  async bytes(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this) chunks.push(chunk);
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  }

  #tooLarge(): TmError {
    return new TmError('TM1809', `more than ${this.#limits.maxBytes} bytes`);
  }

  /** The next piece as soon as there is one; undefined at the end. */
  #next(): Promise<Buffer | undefined> {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        for (const event of ['readable', 'end', 'close', 'error']) request.off(event, look);
        act();
      };
      const look = () => {
        const chunk = request.read() as Buffer | null;
        if (chunk) settle(() => resolve(chunk));
        else if (request.readableEnded) settle(() => resolve(undefined));
        else if (request.destroyed)
          settle(() =>
            request.complete ? resolve(undefined) : reject(new TmError('TM1810', 'the connection broke')),
          );
      };
      const timer = setTimeout(
        () => settle(() => reject(new TmError('TM1810', `nothing came for ${this.#limits.idle / 1000} s`))),
        this.#limits.idle,
      );
      for (const event of ['readable', 'end', 'close', 'error']) request.on(event, look);
      look();
    });
  }
}
