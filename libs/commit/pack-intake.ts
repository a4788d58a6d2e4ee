import type { BlockIntake, SealedFrame } from '../blocks/intake.ts';
import { PackBuilder, packName } from '../blocks/pack.ts';
import type { BlocksTable } from '../registry/port.ts';
import type { Store } from '../store/port.ts';

/** A data key as it is stored: its id (16 bytes) and itself wrapped to the domain's key. */
export interface WrappedKey {
  readonly id: Buffer;
  readonly wrapped: Buffer;
}

interface Settled {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function settled(): Settled {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/**
 * Assembles frames into packs. Order of writes (1-architecture, promises 1 and 2): the wrapped data key is durable
 * before the first pack that uses it, the pack's row (writing) before its object, the object before its block rows,
 * the block rows before `durable` resolves.
 */
export class PackIntake implements BlockIntake {
  readonly #domainId: string;
  readonly #blocks: BlocksTable;
  readonly #store: Store;
  readonly #wrappedKey: (keyId: Buffer) => Promise<WrappedKey>;
  readonly #packBytes: number;
  #pack: PackBuilder | undefined;
  #packDone = settled();
  #keys = new Map<string, Buffer>();
  /** Packs that are being written; two at most, so that memory stays bounded. */
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;

  constructor(options: {
    domainId: string;
    blocks: BlocksTable;
    store: Store;
    wrappedKey: (keyId: Buffer) => Promise<WrappedKey>;
    packBytes: number;
  }) {
    this.#domainId = options.domainId;
    this.#blocks = options.blocks;
    this.#store = options.store;
    this.#wrappedKey = options.wrappedKey;
    this.#packBytes = options.packBytes;
  }

  missing(ids: Buffer): Promise<Uint8Array> {
    return this.#blocks.present(this.#domainId, ids).then((present) => present.map((there) => 1 - there));
  }

  put(frames: readonly SealedFrame[]): { accepted: Promise<void>; durable: Promise<void> } {
    if (this.#failure) throw this.#failure;
    const waitFor: Promise<void>[] = [];
    for (const frame of frames) {
      if (this.#pack && this.#pack.size + frame.bytes.length > this.#packBytes) this.#close();
      this.#pack ??= new PackBuilder(this.#domainId);
      this.#pack.add(frame);
      this.#keys.set(frame.keyId.toString('hex'), frame.keyId);
      if (waitFor.at(-1) !== this.#packDone.promise) waitFor.push(this.#packDone.promise);
    }
    const durable = Promise.all(waitFor).then(() => {});
    durable.catch(() => {});
    return { accepted: this.#room(), durable };
  }

  async flush(): Promise<void> {
    this.#close();
    await Promise.all(this.#writing);
    if (this.#failure) throw this.#failure;
  }

  async #room(): Promise<void> {
    while (this.#writing.size >= 2) await Promise.race(this.#writing).catch(() => {});
    if (this.#failure) throw this.#failure;
  }

  #close(): void {
    if (!this.#pack) return;
    const done = this.#packDone;
    const write = this.#write(this.#pack, [...this.#keys.values()]).then(done.resolve, (error) => {
      this.#failure ??= error;
      done.reject(error);
    });
    this.#writing.add(write);
    write.finally(() => this.#writing.delete(write));
    this.#pack = undefined;
    this.#keys = new Map();
    this.#packDone = settled();
  }

  async #write(builder: PackBuilder, keyIds: readonly Buffer[]): Promise<void> {
    const keys = await Promise.all(keyIds.map((id) => this.#wrappedKey(id)));
    const pack = builder.finish(keys);
    await this.#blocks.beginPack(this.#domainId, { id: pack.id, size: pack.size });
    await this.#store.create(packName(pack.id), pack.parts);
    await this.#blocks.finishPack(
      this.#domainId,
      { id: pack.id, size: pack.size, keys: keyIds },
      pack.blocks,
    );
    pack.parts.forEach(free);
  }
}

/** Gives memory back at once: a garbage collection may be hundreds of megabytes away. */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
