import { FrameSealer } from '../blocks/frame.ts';
import type { BlockKind, SealedFrame } from '../blocks/intake.ts';
import { type DomainKeys, newDataKey } from '../blocks/keys.ts';
import type { WrappedKey } from '../commit/pack-intake.ts';
import { KeyedHasher } from '../model/digests.ts';
import type { Store } from '../store/port.ts';

/** Frame numbers of one thread: none is used twice under a key (1-architecture, "Blocks"). */
const RANGE = 2 ** 40;

export const dataKeyName = (id: Buffer): string => `keys/data/${id.toString('hex')}`;

/** This process's data key: made when first needed, durable in the store before the first pack that uses it. */
export class DataKey {
  readonly #domain: DomainKeys;
  readonly #store: Store;
  #made: Promise<{ id: Buffer; key: Buffer; wrapped: Buffer }> | undefined;
  #ranges = 0;
  #sealer: FrameSealer | undefined;
  readonly #ids: KeyedHasher;

  constructor(domain: DomainKeys, store: Store) {
    this.#domain = domain;
    this.#store = store;
    this.#ids = new KeyedHasher(domain.dedupKey);
  }

  async #key(): Promise<{ id: Buffer; key: Buffer; wrapped: Buffer }> {
    this.#made ??= newDataKey(this.#domain).then(async (made) => {
      await this.#store.create(dataKeyName(made.id), [made.wrapped]);
      return made;
    });
    return this.#made;
  }

  /** A range of frame numbers of its own, for a thread. */
  async range(): Promise<{ id: Buffer; key: Buffer; firstFrameNo: number; endFrameNo: number }> {
    const { id, key } = await this.#key();
    const range = this.#ranges++;
    return { id, key, firstFrameNo: range * RANGE, endFrameNo: (range + 1) * RANGE };
  }

  async wrapped(): Promise<WrappedKey> {
    const { id, wrapped } = await this.#key();
    return { id, wrapped };
  }

  /** One block as a frame of its own, for runs and sealed parts of the journal. */
  async seal(plain: Buffer, kind: BlockKind): Promise<SealedFrame> {
    if (!this.#sealer) {
      const { id: keyId, key, firstFrameNo, endFrameNo } = await this.range();
      this.#sealer ??= new FrameSealer({ domainId: this.#domain.id, keyId, key, firstFrameNo, endFrameNo });
    }
    const id = this.#ids.digest(plain);
    return this.#sealer.seal([{ id, length: plain.length, kind, children: Buffer.alloc(0), bytes: plain }]);
  }
}
