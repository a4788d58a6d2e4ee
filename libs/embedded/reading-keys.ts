import { KeyRing } from '../blocks/keys.ts';
import { TmError } from '../model/errors.ts';
import { dataKeyName } from './data-key.ts';
import type { Engine } from './engine.ts';

/** What reading back needs: the domain's private key opens data keys, which are fetched when first met. */
export async function readingKeys(
  engine: Engine,
): Promise<{ ring: KeyRing; dedupKey: Buffer; domainId: string }> {
  const secret = await engine.secret();
  const ring = new KeyRing(secret, async (id) => {
    try {
      return await engine.store.read(dataKeyName(id));
    } catch (error) {
      if (error instanceof TmError && error.code === 'TM1205')
        throw new TmError('TM1404', dataKeyName(id), { cause: error });
      throw error;
    }
  });
  return { ring, dedupKey: secret.dedupKey, domainId: secret.id };
}
