import { TmError } from '../model/errors.ts';
import { openFileStore } from './file/file-store.ts';
import type { CollectableStore } from './port.ts';

/**
 * The store's place at a URL. `create` makes the folder where there is none; whether a store is in it, and which, says
 * `readStoreIdentity`. Throws TM1002 for a URL that names no place, TM1201 or TM1202 as the adapter does.
 */
export async function openStore(url: string, options: { create: boolean }): Promise<CollectableStore> {
  if (url.startsWith('file:')) return openFileStore(url, options);
  if (url.startsWith('gs:')) {
    throw new TmError('TM1002', `store ${url}: gs:// comes with the services; use file:///DIR`);
  }
  throw new TmError('TM1002', `store ${JSON.stringify(url)}: use file:///DIR`);
}
