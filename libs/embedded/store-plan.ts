import { randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { newDomain, wrapDomain } from '../blocks/keys.ts';
import { saveDomain } from './domain-files.ts';
import { type Home, readJson, writeSecret } from './home.ts';

/**
 * What a new store is going to be, kept in the home until the registry knows the store: who is killed on the way goes
 * on with the same bytes. `wrapped`: the domain's keys for `recipient`, base64.
 */
export interface StorePlan {
  readonly version: 1;
  readonly storeId: string;
  readonly registryId: string;
  readonly time: string;
  readonly recipient: string;
  readonly domain: string;
  readonly wrapped: string;
}

export const readStorePlan = (home: Home): Promise<StorePlan | undefined> =>
  readJson<StorePlan>(home.storePlanFile);

/** With a domain of its own, whose keys are in the home when this resolves. */
export async function makeStorePlan(home: Home, recipient: string, now: Date): Promise<StorePlan> {
  const secret = await newDomain(randomUUID(), randomBytes(32));
  const wrapped = (await wrapDomain(secret, [recipient])).toString('base64');
  const [storeId, registryId] = [randomUUID(), randomUUID()];
  const time = now.toISOString();
  const plan: StorePlan = { version: 1, storeId, registryId, time, recipient, domain: secret.id, wrapped };
  const { identity: _, ...domain } = secret;
  await saveDomain(home, domain);
  await writeSecret(home.storePlanFile, JSON.stringify(plan));
  return plan;
}

export const dropStorePlan = (home: Home): Promise<void> => rm(home.storePlanFile, { force: true });
