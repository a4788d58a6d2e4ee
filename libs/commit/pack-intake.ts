import type { BlockIntake, SealedFrame } from '../blocks/intake.ts';
import { PackBuilder, packName } from '../blocks/pack.ts';
import type { BlocksTable } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { SeenBlocks } from './seen-blocks.ts';

/** A data key as it is stored: its id (16 bytes) and itself wrapped to the domain's key. */
export interface WrappedKey {
  readonly id: Buffer;
  readonly wrapped: Buffer;
}

/**
 * Of a pack's index, 39 a block: what waits for a pack to be durable (records, results, rows) has a measure by entries
 * too, which its bytes do not give where files are tiny.
 */
const INDEX_BYTES = 640 * 1024;

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
 * The blocks' way into the store for one backup, while it is open. Assembles frames into packs. Order of writes (1-architecture, promises 1 and 2): the wrapped data key is durable
 * before the first pack that uses it, the pack's row (writing) before its object, the object before its block rows,
 * the block rows before `durable` resolves. What it has seen present stays so until the backup ends (decisions/013).
 */
export class PackIntake implements BlockIntake {
  readonly #domainId: string;
  readonly #blocks: BlocksTable;
  readonly #store: Store;
  readonly #wrappedKey: (keyId: Buffer) => Promise<WrappedKey>;
  readonly #packBytes: number;
  #pack: PackBuilder | undefined;
  #indexBytes = 0;
  #packDone = settled();
  #keys = new Map<string, Buffer>();
  /** Packs that are being written; two at most, so that memory stays bounded. */
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;
  readonly #seen = new SeenBlocks();
  #packsBegun = 0;
  /** Whether somebody else has packs in the domain, as of the last look; undefined before the first one. */
  #others: Promise<boolean> | undefined;

  constructor(options: {
    domainId: string;
    blocks: BlocksTable;
    store: Store;
    wrappedKey: (keyId: Buffer) => Promise<WrappedKey>;
    packBytes: number;
    /** The domain is known to have packs of others: nobody has to look for them. */
    hasOthers?: boolean;
  }) {
    this.#domainId = options.domainId;
    this.#blocks = options.blocks;
    this.#store = options.store;
    this.#wrappedKey = options.wrappedKey;
    this.#packBytes = options.packBytes;
    if (options.hasOthers) this.#others = Promise.resolve(true);
  }

  /**
   * A domain in which nobody else has a pack is not asked: blocks that another backup puts there at the same time may be
   * put twice until its first pack is noticed, of which the first stays.
   */
  async missing(ids: Buffer): Promise<Uint8Array> {
    const others = await (this.#others ?? this.#lookForOthers());
    const present = others || !this.#seen.complete ? await this.present(ids) : this.#seenOf(ids);
    return present.map((there) => 1 - there);
  }

  #seenOf(ids: Buffer): Uint8Array {
    const seen = new Uint8Array(ids.length / 32);
    for (let i = 0; i < seen.length; i++) if (this.#seen.has(ids, i * 32)) seen[i] = 1;
    return seen;
  }

  /** `ids`: n × 32 bytes. Gives n bytes, 1 where the block is in the registry: the registry is asked for what was not seen there. */
  async present(ids: Buffer): Promise<Uint8Array> {
    const present = this.#seenOf(ids);
    if (!present.includes(0)) return present;
    const unseen = Array.from(present.keys()).filter((i) => present[i] === 0);
    const asked = Buffer.allocUnsafe(unseen.length * 32);
    unseen.forEach((i, n) => {
      ids.copy(asked, n * 32, i * 32, i * 32 + 32);
    });
    const answer = await this.#blocks.present(this.#domainId, asked);
    unseen.forEach((i, n) => {
      present[i] = answer[n]!;
      if (answer[n] === 1) this.#seen.add(asked, n * 32);
    });
    return present;
  }

  #lookForOthers(): Promise<boolean> {
    const begun = this.#packsBegun;
    this.#others = this.#blocks.packCount(this.#domainId).then((count) => count > begun);
    this.#others.catch(() => {}); // it is thrown where it is waited for
    return this.#others;
  }

  put(frames: readonly SealedFrame[]): { accepted: Promise<void>; durable: Promise<void> } {
    if (this.#failure) throw this.#failure;
    const waitFor: Promise<void>[] = [];
    for (const frame of frames) {
      if (!this.#hasRoom(frame)) this.#close();
      this.#pack ??= new PackBuilder(this.#domainId);
      this.#pack.add(frame);
      this.#indexBytes += frame.index.length;
      this.#keys.set(frame.keyId.toString('hex'), frame.keyId);
      if (waitFor.at(-1) !== this.#packDone.promise) waitFor.push(this.#packDone.promise);
    }
    const durable = Promise.all(waitFor).then(() => {});
    durable.catch(() => {});
    return { accepted: this.#room(), durable };
  }

  #hasRoom({ bytes, index }: SealedFrame): boolean {
    if (!this.#pack) return true;
    return (
      this.#pack.size + bytes.length <= this.#packBytes && this.#indexBytes + index.length <= INDEX_BYTES
    );
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
    this.#indexBytes = 0;
    this.#keys = new Map();
    this.#packDone = settled();
  }

  async #write(builder: PackBuilder, keyIds: readonly Buffer[]): Promise<void> {
    const keys = await Promise.all(keyIds.map((id) => this.#wrappedKey(id)));
    const pack = builder.finish(keys);
    this.#packsBegun++;
    await this.#blocks.beginPack(this.#domainId, { id: pack.id, size: pack.size });
    await this.#store.create(packName(pack.id), pack.parts);
    await this.#blocks.finishPack(
      this.#domainId,
      { id: pack.id, size: pack.size, keys: keyIds },
      pack.blocks,
    );
    for (const { id } of pack.blocks) this.#seen.add(id);
    pack.parts.forEach(free);
    if (this.#others && !(await this.#others)) this.#lookForOthers();
  }
}

/** Gives memory back at once: a garbage collection may be hundreds of megabytes away. */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
