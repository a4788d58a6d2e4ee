import { type DomainSecret, KeyRing } from '../blocks/keys.ts';
import { dataKeyName } from '../commit/data-key.ts';
import { TmError } from '../model/errors.ts';
import type { Store } from '../store/port.ts';

interface KeySource {
  readonly store: Store;
  /** The domain's private key, for reading back. */
  secret(): Promise<DomainSecret>;
}

/** Opens a domain's blocks and sealed parts. */
export interface DomainReadingKeys {
  readonly ring: KeyRing;
  readonly dedupKey: Buffer;
  readonly domainId: string;
}

/** What reading back needs: the domain's private key opens data keys, which are fetched when first met. */
export async function readingKeys(from: KeySource): Promise<DomainReadingKeys> {
  const secret = await from.secret();
  const ring = new KeyRing(secret, async (id) => {
    try {
      return await from.store.read(dataKeyName(id));
    } catch (error) {
      if (error instanceof TmError && error.code === 'TM1205')
        throw new TmError('TM1404', `${dataKeyName(id)} is missing`, { cause: error });
      throw error;
    }
  });
  return { ring, dedupKey: secret.dedupKey, domainId: secret.id };
}
