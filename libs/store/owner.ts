import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { moment, openObject, whole } from './open-object.ts';
import type { Store } from './port.ts';
import { checkStored, encodeStoredJson, parseStoredJson } from './stored-json.ts';

const PREFIX = 'owner/';
const OWNER_NAME = /^owner\/([0-9a-f]{16})$/;

const Owner = openObject({
  registryId: z.uuid(),
  generation: whole.positive(),
  /** Number of the last journal object that the registry had taken in of each writer when it claimed the store. */
  takenIn: z.record(z.string(), whole),
  time: moment,
});

/** A registry that claimed the store. The highest generation owns it. */
export type Owner = z.infer<typeof Owner>;

const ownerName = (generation: number): string => PREFIX + generation.toString(16).padStart(16, '0');

/** Every claim, oldest first. Throws TM1206 for a damaged one. */
export async function listOwners(store: Store): Promise<Owner[]> {
  const owners: Owner[] = [];
  for await (const { name } of store.list(PREFIX)) {
    if (OWNER_NAME.test(name)) owners.push(await readOwner(store, name));
  }
  return owners;
}

/** The claim that counts; undefined before the first one. A damaged one is TM1206, never passed over. */
export async function currentOwner(store: Store): Promise<Owner | undefined> {
  let newest: string | undefined;
  for await (const { name } of store.list(PREFIX)) if (OWNER_NAME.test(name)) newest = name;
  return newest === undefined ? undefined : readOwner(store, newest);
}

async function readOwner(store: Store, name: string): Promise<Owner> {
  const owner = checkStored(name, Owner, parseStoredJson(name, await store.read(name)));
  if (ownerName(owner.generation) !== name)
    throw new TmError('TM1206', `${name} says generation ${owner.generation}`);
  return owner;
}

/** What a registry says when it claims a store. */
export interface OwnerClaim {
  readonly registryId: string;
  readonly takenIn: Readonly<Record<string, number>>;
  readonly now: Date;
}

/** Takes the next generation. Throws TM1207 where another registry took it first. */
export async function claimOwner(store: Store, { registryId, takenIn, now }: OwnerClaim): Promise<Owner> {
  const generation = ((await currentOwner(store))?.generation ?? 0) + 1;
  const owner: Owner = { registryId, generation, takenIn: { ...takenIn }, time: now.toISOString() };
  try {
    await store.create(ownerName(generation), [encodeStoredJson(owner)]);
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1210')) throw error;
    throw new TmError('TM1207', `another registry took generation ${generation}`, { cause: error });
  }
  return owner;
}

/**
 * Whether a journal object was written by an owner that had lost the store: a later owner did not take it in.
 * Such objects stay in the chain, but their records are ignored.
 */
export function isDisowned(
  object: { readonly writer: string; readonly number: number; readonly ownerGeneration: number },
  owners: readonly Owner[],
): boolean {
  return owners.some(
    ({ generation, takenIn }) =>
      generation > object.ownerGeneration && object.number > (takenIn[object.writer] ?? 0),
  );
}
