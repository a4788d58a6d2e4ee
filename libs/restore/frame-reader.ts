import { openFrame, type PlainMemory, parseFrameHeader } from '../blocks/frame.ts';
import { packName } from '../blocks/pack.ts';
import { KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { type BlockPlace, type BlockSupplier, placeAt } from './block-supplier.ts';

/** What a thread needs to open frames of one domain. */
export interface FrameKeys {
  readonly domainId: string;
  readonly dedupKey: Uint8Array;
}

/** Opens frames and checks blocks against their ids; one per thread. Data keys are asked for once. */
export class FrameReader {
  readonly #domainId: string;
  readonly #supplier: BlockSupplier;
  readonly #hasher: KeyedHasher;
  readonly #keys = new Map<string, Promise<Buffer>>();

  constructor(keys: FrameKeys, supplier: BlockSupplier) {
    this.#domainId = keys.domainId;
    this.#supplier = supplier;
    this.#hasher = new KeyedHasher(Buffer.from(keys.dedupKey));
  }

  idOf(bytes: Buffer): Buffer {
    return this.#hasher.digest(bytes);
  }

  /**
   * The plaintext of a frame, its first `wanted` bytes at least (default: all), in `memory` if given: another call with the
   * same memory writes over it. Throws TM1206, TM1404, TM1601.
   */
  async open(bytes: Buffer, memory?: PlainMemory, wanted?: number): Promise<Buffer> {
    const { keyId } = parseFrameHeader(bytes);
    const name = keyId.toString('latin1');
    let key = this.#keys.get(name);
    if (!key) {
      key = this.#supplier.key(keyId);
      key.catch(() => this.#keys.delete(name));
      this.#keys.set(name, key);
    }
    return openFrame(bytes, this.#domainId, await key, memory, wanted);
  }

  /** A block in its frame's plaintext. Throws TM1601 where it is not the one that its id names (promise 10). */
  blockIn(plain: Buffer, id: Buffer, length: number, place: BlockPlace): Buffer {
    const bytes = plain.subarray(place.offset, place.offset + place.length);
    if (bytes.length !== length || !this.idOf(bytes).equals(id)) throw damaged(id, place.pack);
    return bytes;
  }
}

/** TM1601 for a block that is not what its id says, or that the registry lacks. */
export function damaged(id: Buffer, pack?: Buffer): TmError {
  const where = pack ? `in ${packName(pack)}` : 'is not in the registry';
  return new TmError('TM1601', `block ${id.toString('hex')} ${where}`);
}

/** The same error with the block and object that it hit; errors that are no damage stay what they are. */
export function inBlock(error: unknown, id: Buffer, pack: Buffer): unknown {
  if (!isDamage(error)) return error;
  return new TmError(error.code, `block ${id.toString('hex')} in ${packName(pack)}`, { cause: error });
}

/** Whether an error says that something in the store is missing or damaged, rather than that it can't be reached. */
export function isDamage(error: unknown): error is TmError {
  return error instanceof TmError && error.spec.exit === 4;
}

/** Throws TM1601 for a block that is not known. */
export function placeOrThrow(id: Buffer, places: Buffer, i = 0): BlockPlace {
  const place = placeAt(places, i);
  if (!place) throw damaged(id);
  return place;
}
