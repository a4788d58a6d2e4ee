import { setTimeout } from 'node:timers/promises';
import { openStore } from '../store/open-store.ts';
import type { CollectableStore } from '../store/port.ts';
import { RetryingStore } from '../store/retrying-store.ts';

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

export async function openEngineStore(
  url: string,
  options: { create: boolean },
  open: OpenStore = openStore,
): Promise<CollectableStore> {
  return new RetryingStore(await open(url, options), POLICY, WORLD);
}
