import type { KeyRing } from '../blocks/keys.ts';
import { packName } from '../blocks/pack.ts';
import { TmError } from '../model/errors.ts';
import type { Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';

export interface ReadingKeys {
  readonly ring: KeyRing;
  readonly dedupKey: Buffer;
  readonly domainId: string;
}

const BLOCK_ID_BYTES = 32;
/** A located block: pack id (32), then u32 frame offset, frame length (0: unknown block), offset and length in its plaintext. */
const PLACE_BYTES = 48;

/** Where blocks come from: the registry knows the place, the store has the bytes, the key ring opens them. */
export interface BlockSupplier {
  /** `ids`: n × 32 bytes; gives n places for `placeAt`. */
  locate(ids: Buffer): Promise<Buffer>;
  /** Bytes of a pack. Throws TM1205, TM1206 and what else the store throws; TM1508 once interrupted. */
  read(pack: Buffer, offset: number, length: number): Promise<Buffer>;
  /** A data key. Throws TM1404. */
  key(id: Buffer): Promise<Buffer>;
}

export interface BlockPlace {
  readonly pack: Buffer;
  readonly frameOffset: number;
  readonly frameLength: number;
  readonly offset: number;
  readonly length: number;
}

/** Place number `i` of what `locate` gave; undefined where the block is unknown. */
export function placeAt(places: Buffer, i: number): BlockPlace | undefined {
  const at = i * PLACE_BYTES;
  const frameLength = places.readUInt32LE(at + 36);
  if (frameLength === 0) return undefined;
  return {
    pack: places.subarray(at, at + 32),
    frameOffset: places.readUInt32LE(at + 32),
    frameLength,
    offset: places.readUInt32LE(at + 40),
    length: places.readUInt32LE(at + 44),
  };
}

/** Without a ring it serves who opens nothing. */
type SupplierKeys = Pick<ReadingKeys, 'domainId'> & Partial<Pick<ReadingKeys, 'ring'>>;

/** The supplier of the thread that holds registry, store and keys. */
export class StoreSupplier implements BlockSupplier {
  readonly #registry: Registry;
  readonly #store: Store;
  readonly #keys: SupplierKeys;
  readonly #signal: AbortSignal | undefined;
  /** Calls under way, to be given up at an interrupt. */
  readonly #waiting = new Set<() => void>();
  bytesFetched = 0;

  constructor(registry: Registry, store: Store, keys: SupplierKeys, signal?: AbortSignal) {
    this.#registry = registry;
    this.#store = store;
    this.#keys = keys;
    this.#signal = signal;
    signal?.addEventListener('abort', () => this.#waiting.forEach((giveUp) => void giveUp()), { once: true });
  }

  async locate(ids: Buffer): Promise<Buffer> {
    const all: Buffer[] = [];
    for (let at = 0; at < ids.length; at += BLOCK_ID_BYTES) all.push(ids.subarray(at, at + BLOCK_ID_BYTES));
    const rows = await this.#unlessInterrupted(this.#registry.blocks.locate(this.#keys.domainId, all));
    const places = Buffer.from(new ArrayBuffer(all.length * PLACE_BYTES));
    rows.forEach((row, i) => {
      if (!row) return;
      const at = i * PLACE_BYTES;
      row.pack.copy(places, at);
      places.writeUInt32LE(row.frameOffset, at + 32);
      places.writeUInt32LE(row.frameLength, at + 36);
      places.writeUInt32LE(row.offset, at + 40);
      places.writeUInt32LE(row.length, at + 44);
    });
    return places;
  }

  async read(pack: Buffer, offset: number, length: number): Promise<Buffer> {
    const bytes = await this.#unlessInterrupted(this.#store.read(packName(pack), { offset, length }));
    this.bytesFetched += bytes.length;
    return bytes;
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
