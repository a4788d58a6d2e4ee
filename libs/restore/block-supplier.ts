import type { KeyRing } from '../blocks/keys.ts';
import { packName } from '../blocks/pack.ts';
import { release } from '../codec/release.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import { PLACE_BYTES } from '../registry/port-blocks.ts';
import type { Store } from '../store/port.ts';

export interface ReadingKeys {
  readonly ring: KeyRing;
  readonly dedupKey: Buffer;
  readonly domainId: string;
}

/** Where blocks come from: the registry knows the place, the store has the bytes, the key ring opens them. */
export interface BlockSupplier {
  /** `ids`: n × 32 bytes; gives n places (`BlocksTable.places`) for `placeAt`. */
  locate(ids: Buffer): Promise<Buffer>;
  /** Bytes of a pack. Throws TM1205, TM1206 and what else the store throws; TM1508 once interrupted. */
  read(pack: Buffer, offset: number, length: number): Promise<Buffer>;
  /** Gives memory of `read` back, which nobody looks at any more. */
  release(bytes: Buffer): void;
  /** A data key. Throws TM1404. */
  key(id: Buffer): Promise<Buffer>;
}

/** The supplier of the thread that gives others their tasks. */
export interface PoolSupplier extends BlockSupplier {
  /** Path of the file that holds a pack, where one on this host does: threads read from it by themselves. */
  fileOf?(pack: Buffer): string | undefined;
  /** They have read so much. */
  count(bytes: number): void;
}

/** Knows how much it has read. */
export interface RestoreSupplier extends PoolSupplier {
  readonly bytesFetched: number;
  /** Each read waits for a network. */
  readonly isFar: boolean;
}

export interface BlockPlace {
  readonly pack: Buffer;
  readonly frameOffset: number;
  readonly frameLength: number;
  readonly offset: number;
  readonly length: number;
}

/** Whether block number `i` of what was asked for is known. */
export const isPlace = (places: Buffer, i: number): boolean =>
  places.readUInt32LE(i * PLACE_BYTES + 36) !== 0;

/** Place number `i` of what `locate` gave; undefined where the block is unknown. */
export function placeAt(places: Buffer, i: number): BlockPlace | undefined {
  const at = i * PLACE_BYTES;
  if (!isPlace(places, i)) return undefined;
  return {
    pack: places.subarray(at, at + 32),
    frameOffset: places.readUInt32LE(at + 32),
    frameLength: places.readUInt32LE(at + 36),
    offset: places.readUInt32LE(at + 40),
    length: places.readUInt32LE(at + 44),
  };
}

/** Without a ring it serves who opens nothing. */
type SupplierKeys = Pick<ReadingKeys, 'domainId'> & Partial<Pick<ReadingKeys, 'ring'>>;

/** The supplier of the thread that holds registry, store and keys. */
export class StoreSupplier implements RestoreSupplier {
  readonly #registry: Pick<Registry, 'blocks'>;
  readonly #store: Store;
  readonly #keys: SupplierKeys;
  readonly #signal: AbortSignal | undefined;
  /** Calls under way, to be given up at an interrupt. */
  readonly #waiting = new Set<() => void>();
  bytesFetched = 0;

  constructor(registry: Pick<Registry, 'blocks'>, store: Store, keys: SupplierKeys, signal?: AbortSignal) {
    this.#registry = registry;
    this.#store = store;
    this.#keys = keys;
    this.#signal = signal;
    signal?.addEventListener('abort', () => this.#waiting.forEach((giveUp) => void giveUp()), { once: true });
  }

  get isFar(): boolean {
    return !this.#store.url.startsWith('file:');
  }

  async locate(ids: Buffer): Promise<Buffer> {
    return this.#unlessInterrupted(this.#registry.blocks.places(this.#keys.domainId, ids));
  }

  async read(pack: Buffer, offset: number, length: number): Promise<Buffer> {
    const bytes = await this.#unlessInterrupted(this.#store.read(packName(pack), { offset, length }));
    this.bytesFetched += bytes.length;
    return bytes;
  }

  readonly release = release;

  fileOf(pack: Buffer): string | undefined {
    return this.#store.fileOf?.(packName(pack));
  }

  count(bytes: number): void {
    this.bytesFetched += bytes;
  }

  key(id: Buffer): Promise<Buffer> {
    return this.#unlessInterrupted(this.#ring(id));
  }

  async #ring(id: Buffer): Promise<Buffer> {
    if (!this.#keys.ring) throw new TmError('TM1402', 'what is read is encrypted');
    return this.#keys.ring.get(id);
  }

  /** A store that hangs must not keep an interrupted process. */
  #unlessInterrupted<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(new TmError('TM1508'));
      if (this.#signal?.aborted) giveUp();
      this.#waiting.add(giveUp);
      work.finally(() => this.#waiting.delete(giveUp)).then(resolve, reject);
    });
  }
}
