import type { TmError } from '../model/errors.ts';
import { LimitedStore } from '../store/limited-store.ts';
import { type OpenStoreOptions, openStore } from '../store/open-store.ts';
import { limitWorld, type StoreLimits } from '../store/pace.ts';
import type { CollectableStore } from '../store/port.ts';
import { retryPolicyOf } from '../store/retry-policy.ts';
import { RetryingStore } from '../store/retrying-store.ts';

/** Opens the store's place; tests put faults in between. */
export type OpenStore = (url: string, options: OpenStoreOptions) => Promise<CollectableStore>;

export interface StoreConfig {
  /** file:// or gs:// URL. */
  readonly storeUrl: string;
  /** Address of a Google Cloud Storage emulator; undefined: Google's. */
  readonly gcsEndpoint?: string | undefined;
  /** Stands in for the store's adapter in tests. */
  readonly openStore?: OpenStore;
  readonly limits?: StoreLimits;
  /** Ends waits for the limits' sake, and before another try. */
  readonly signal?: AbortSignal;
  readonly onDamage?: ((error: TmError) => void) | undefined;
}

/** The store of a configuration: hiccups are ridden out, limits are kept. */
export async function openCellStore(
  { storeUrl, gcsEndpoint, openStore: open = openStore, limits, signal }: StoreConfig,
  create: boolean,
): Promise<CollectableStore> {
  const world = limitWorld(signal);
  const place = await open(storeUrl, { create, gcsEndpoint, interrupt: signal });
  const store = new RetryingStore(place, retryPolicyOf(storeUrl), { ...world, random: Math.random });
  if (limits?.upload === undefined && limits?.download === undefined) return store;
  return new LimitedStore(store, limits, world);
}
