import { type MessagePort, parentPort } from 'node:worker_threads';
import { reviveError, sendError } from '../model/sent-error.ts';
import type { BlockSupplier } from './block-supplier.ts';
import { PackFiles } from './pack-files.ts';
import { asBuffer, type FromThread, ownMemory, type ToThread } from './thread-messages.ts';

/** Asks the pool's thread for what this one lacks. */
class AskingSupplier implements BlockSupplier {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, { resolve: (bytes: Buffer) => void; reject: (error: unknown) => void }>();
  readonly files = new PackFiles((pack) =>
    this.#call((call) => ({ type: 'file', call, pack: Buffer.from(pack) })),
  );
  #next = 0;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  #call(make: (call: number) => FromThread, transfer: ArrayBuffer[] = []): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      this.#calls.set(call, { resolve, reject });
      this.#port.postMessage(make(call), transfer);
    });
  }

  locate(ids: Buffer): Promise<Buffer> {
    return this.#call((call) => ({ type: 'locate', call, ids }), ownMemory(ids));
  }

  async read(pack: Buffer, offset: number, length: number): Promise<Buffer> {
    const bytes = await this.files.read(pack, offset, length);
    return bytes ?? this.#call((call) => ({ type: 'read', call, pack: Buffer.from(pack), offset, length }));
  }

  release(bytes: Buffer): void {
    this.files.release(bytes);
  }

  key(id: Buffer): Promise<Buffer> {
    return this.#call((call) => ({ type: 'key', call, id }));
  }

  take(message: Extract<ToThread, { type: 'answer' | 'refused' }>): void {
    const waiting = this.#calls.get(message.call);
    this.#calls.delete(message.call);
    if (message.type === 'answer') waiting?.resolve(asBuffer(message.bytes));
    else waiting?.reject(reviveError(message.error));
  }
}

/** The other end of a ThreadPool: does each task as it comes. */
export function serveThread<T, R>(make: (supplier: BlockSupplier) => (task: T) => Promise<R>): void {
  const port = parentPort!;
  const supplier = new AskingSupplier(port);
  const work = make(supplier);
  const send = (message: FromThread) => port.postMessage(message);
  port.on('message', (message: ToThread) => {
    if (message.type === 'close') {
      port.close();
      return;
    }
    if (message.type !== 'task') {
      supplier.take(message);
      return;
    }
    const { task } = message;
    work(message.work as T).then(
      (result) => send({ type: 'done', task, read: supplier.files.takeCount(), result }),
      (error) => send({ type: 'failed', task, read: supplier.files.takeCount(), error: sendError(error) }),
    );
  });
}
