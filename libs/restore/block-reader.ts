import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import type { KeyRing } from '../blocks/keys.ts';
import { packName } from '../blocks/pack.ts';
import { KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import type { BlockRow, Registry } from '../registry/port.ts';
import type { Store } from '../store/port.ts';

export interface ReadingKeys {
  readonly ring: KeyRing;
  readonly dedupKey: Buffer;
  readonly domainId: string;
}

/** Plaintext of frames that is kept: neighbouring files share frames. */
const CACHE_BYTES = 48 * 1024 * 1024;

/** Reads blocks of one domain: finds them in the registry, opens each frame once while it is kept, checks every block against its id. */
export class BlockReader {
  readonly #registry: Registry;
  readonly #store: Store;
  readonly #keys: ReadingKeys;
  readonly #hasher: KeyedHasher;
  readonly #located = new Map<string, BlockRow>();
  /** Plaintexts by pack and offset; the least recently used goes first. */
  readonly #frames = new Map<string, Promise<Buffer>>();
  #cached = 0;
  bytesFetched = 0;

  constructor(registry: Registry, store: Store, keys: ReadingKeys) {
    this.#registry = registry;
    this.#store = store;
    this.#keys = keys;
    this.#hasher = new KeyedHasher(keys.dedupKey);
  }

  /** Looks the blocks up, all at once, so that `read` need not ask for each; forgets the ones before. */
  async locate(ids: readonly Buffer[]): Promise<void> {
    this.#located.clear();
    if (ids.length === 0) return;
    const rows = await this.#registry.blocks.locate(this.#keys.domainId, ids);
    for (const row of rows) if (row) this.#located.set(row.id.toString('latin1'), row);
  }

  idOf(bytes: Buffer): Buffer {
    return this.#hasher.digest(bytes);
  }

  /** Throws TM1205, TM1206, TM1404 or TM1601, naming object and block. */
  readonly read = async (id: Buffer, length: number): Promise<Buffer> => {
    const hex = id.toString('hex');
    const row =
      this.#located.get(id.toString('latin1')) ??
      (await this.#registry.blocks.locate(this.#keys.domainId, [id]))[0];
    if (!row) throw new TmError('TM1601', `block ${hex} is not in the registry`);
    const plain = await this.#frame(row).catch((error) => {
      if (error instanceof TmError)
        throw new TmError(error.code, `block ${hex} in ${packName(row.pack)}`, { cause: error });
      throw error;
    });
    const bytes = plain.subarray(row.offset, row.offset + row.length);
    if (bytes.length !== length || !this.idOf(bytes).equals(id))
      throw new TmError('TM1601', `block ${hex} in ${packName(row.pack)}`);
    return bytes;
  };

  #frame(row: BlockRow): Promise<Buffer> {
    const key = `${row.pack.toString('latin1')}${row.frameOffset}`;
    const kept = this.#frames.get(key);
    this.#frames.delete(key);
    const frame = kept ?? this.#open(row);
    this.#frames.set(key, frame);
    if (!kept)
      frame.then(
        (plain) => this.#keep(plain.length),
        () => this.#frames.delete(key),
      );
    return frame;
  }

  async #keep(bytes: number): Promise<void> {
    this.#cached += bytes;
    for (const [key, frame] of this.#frames) {
      if (this.#cached <= CACHE_BYTES) return;
      this.#frames.delete(key);
      this.#cached -= (await frame.catch(() => Buffer.alloc(0))).length;
    }
  }

  async #open(row: BlockRow): Promise<Buffer> {
    const bytes = await this.#store.read(packName(row.pack), {
      offset: row.frameOffset,
      length: row.frameLength,
    });
    this.bytesFetched += bytes.length;
    const key = await this.#keys.ring.get(parseFrameHeader(bytes).keyId);
    return openFrame(bytes, this.#keys.domainId, key);
  }
}
