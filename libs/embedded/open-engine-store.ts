import { setTimeout } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';
import { LimitedStore } from '../store/limited-store.ts';
import { openStore } from '../store/open-store.ts';
import type { CollectableStore } from '../store/port.ts';
import { RetryingStore } from '../store/retrying-store.ts';
import type { EngineConfig } from './engine.ts';

/** Opens the store's place; tests put faults in between. */
export type OpenStore = (url: string, options: { create: boolean }) => Promise<CollectableStore>;

/** Somebody waits at the command line: hiccups are ridden out, anything longer is said. A full disk is never retried. */
const POLICY = { deadline: 2_000, firstDelay: 50, longestDelay: 500 };
const WORLD = {
  now: () => performance.now(),
  sleep: async (milliseconds: number) => {
    await setTimeout(milliseconds);
  },
  random: Math.random,
};

/** The store of a configuration: hiccups are ridden out, limits are kept. */
export async function openEngineStore(
  { storeUrl, openStore: open = openStore, limits, signal }: EngineConfig,
  create: boolean,
): Promise<CollectableStore> {
  const store = new RetryingStore(await open(storeUrl, { create }), POLICY, WORLD);
  if (limits?.upload === undefined && limits?.download === undefined) return store;
  const sleep = async (milliseconds: number): Promise<void> => {
    try {
      await setTimeout(milliseconds, undefined, signal ? { signal } : {});
    } catch (cause) {
      throw new TmError('TM1508', undefined, { cause });
    }
  };
  return new LimitedStore(store, limits, { now: WORLD.now, sleep });
}
