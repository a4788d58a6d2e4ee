import { TmError } from '../model/errors.ts';
import { openFileStore } from './file/file-store.ts';
import type { CollectableStore } from './port.ts';

export interface OpenStoreOptions {
  /** Makes the folder where there is none; a bucket is never made. */
  readonly create: boolean;
  /** Address of a Google Cloud Storage emulator, which needs no credentials; undefined: Google's. */
  readonly gcsEndpoint?: string | undefined;
  /** Aborted when the process is to end: a bucket's calls get little time from then on. */
  readonly interrupt?: AbortSignal | undefined;
}

/**
 * The store's place at a URL. Whether a store is in it, and which, says `readStoreIdentity`. Throws TM1002 for a URL
 * that names no place, TM1201 or TM1202 as the adapter does: a folder at once, a bucket at the first call.
 */
export async function openStore(url: string, options: OpenStoreOptions): Promise<CollectableStore> {
  if (url.startsWith('file:')) return openFileStore(url, options);
  if (url.startsWith('gs:')) {
    const { openGcsStore } = await import('./gcs/gcs-store.ts'); // slow to load, and most commands need none
    return openGcsStore(url, { endpoint: options.gcsEndpoint, interrupt: options.interrupt });
  }
  throw new TmError('TM1002', `store ${JSON.stringify(url)}: use file:///DIR or gs://BUCKET/PREFIX`);
}
