import { FrameSealer } from '../blocks/frame.ts';
import type { BlockKind, SealedFrame } from '../blocks/intake.ts';
import { type DomainKeys, type NewDataKey, newDataKey } from '../blocks/keys.ts';
import { KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import type { WrappedKey } from './pack-intake.ts';

/** Frame numbers of one thread: none is used twice under a key (1-architecture, "Blocks"). */
const RANGE = 2 ** 40;
/** Frame numbers are exact up to 2^53: past that, two frames would have one. A process that lives for long gets there. */
const RANGES = 2 ** 53 / RANGE;
/** A key seals for a day at most. */
const MAX_AGE_MS = 24 * 60 * 60 * 1000;

export const dataKeyName = (id: Buffer): string => `keys/data/${id.toString('hex')}`;

/** Frame numbers under a data key, for one thread. */
export interface KeyRange {
  readonly id: Buffer;
  readonly key: Buffer;
  readonly firstFrameNo: number;
  readonly endFrameNo: number;
}

/** This process's data key of a domain: made when first needed, durable before the first pack that uses it. */
export class DataKey {
  readonly #domain: DomainKeys;
  readonly #put: (key: WrappedKey) => Promise<unknown>;
  readonly #now: () => number;
  readonly #ids: KeyedHasher;
  #current: { readonly made: Promise<NewDataKey>; readonly until: number; ranges: number } | undefined;
  readonly #wrapped = new Map<string, Buffer>();
  #sealer: { readonly keyId: Buffer; readonly sealer: FrameSealer } | undefined;

  /** `put` makes a wrapped key durable; `now` in milliseconds. */
  constructor(
    domain: DomainKeys,
    put: (key: WrappedKey) => Promise<unknown>,
    now: () => number = () => performance.now(),
  ) {
    this.#domain = domain;
    this.#put = put;
    this.#now = now;
    this.#ids = new KeyedHasher(domain.dedupKey);
  }

  #key() {
    const known = this.#current;
    if (known && this.#now() < known.until && known.ranges < RANGES) return known;
    const made = this.#make();
    const current = { made, until: this.#now() + MAX_AGE_MS, ranges: 0 };
    this.#current = current;
    made.catch(() => {
      if (this.#current === current) this.#current = undefined;
    });
    return current;
  }

  async #make(): Promise<NewDataKey> {
    const made = await newDataKey(this.#domain);
    await this.#put(made);
    this.#wrapped.set(made.id.toString('hex'), made.wrapped);
    return made;
  }

  /** A range of frame numbers of its own, for a thread. */
  async range(): Promise<KeyRange> {
    const current = this.#key();
    const range = current.ranges++;
    const { id, key } = await current.made;
    return { id, key, firstFrameNo: range * RANGE, endFrameNo: (range + 1) * RANGE };
  }

  /** One of the keys that this process has made. */
  async wrapped(id: Buffer): Promise<WrappedKey> {
    const wrapped = this.#wrapped.get(id.toString('hex'));
    if (!wrapped) throw new TmError('TM1404', `data key ${id.toString('hex')} is not of this process`);
    return { id, wrapped };
  }

  /** One block as a frame of its own, for runs and sealed parts of the journal. */
  async seal(plain: Buffer, kind: BlockKind): Promise<SealedFrame> {
    const sealer = await this.#ownSealer();
    const id = this.#ids.digest(plain);
    return sealer.sealAside([{ id, length: plain.length, kind, children: Buffer.alloc(0), bytes: plain }]);
  }

  async #ownSealer(): Promise<FrameSealer> {
    const { id } = await this.#key().made;
    if (this.#sealer?.keyId.equals(id)) return this.#sealer.sealer;
    const { id: keyId, key, firstFrameNo, endFrameNo } = await this.range();
    const sealer = new FrameSealer({ domainId: this.#domain.id, keyId, key, firstFrameNo, endFrameNo });
    this.#sealer = { keyId, sealer };
    return sealer;
  }
}
