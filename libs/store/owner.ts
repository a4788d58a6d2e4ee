import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { JournalGap } from './journal-gap.ts';
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
  /** Where chains were broken when it claimed the store, earlier claims' gaps included: known, and gone on after. */
  gaps: z.array(JournalGap()).readonly().optional(),
  /** Generations whose claims were missing or damaged then. */
  lostClaims: z.array(whole).readonly().optional(),
  time: moment,
});

/** A registry that claimed the store. The highest generation owns it. */
export type Owner = z.infer<typeof Owner>;

export const ownerName = (generation: number): string => PREFIX + generation.toString(16).padStart(16, '0');

/** Every claim, oldest first. Throws TM1206 for a damaged one. */
export async function listOwners(store: Store): Promise<Owner[]> {
  const owners: Owner[] = [];
  for await (const { name } of store.list(PREFIX)) {
    if (OWNER_NAME.test(name)) owners.push(await readOwner(store, name));
  }
  return owners;
}

/** The generation of the newest claim, whatever it says; 0: none. */
export async function newestGeneration(store: Store): Promise<number> {
  let newest = 0;
  for await (const { name } of store.list(PREFIX)) {
    const [, generation] = OWNER_NAME.exec(name) ?? [];
    if (generation !== undefined) newest = Number.parseInt(generation, 16);
  }
  return newest;
}

/** The claim that counts; undefined before the first one. A damaged one is TM1206, never passed over. */
export async function currentOwner(store: Store): Promise<Owner | undefined> {
  let newest: string | undefined;
  for await (const { name } of store.list(PREFIX)) if (OWNER_NAME.test(name)) newest = name;
  return newest === undefined ? undefined : readOwner(store, newest);
}

/** Every claim that a store should have. */
export interface Claims {
  /** Those that can be read, oldest first. */
  readonly owners: readonly Owner[];
  /** What is wrong with the others, by generation. */
  readonly lost: ReadonlyMap<number, TmError>;
  /** The highest generation that has an object, whole or not; 0: none. */
  readonly newest: number;
}

/** As `listOwners`, over claims that are damaged (TM1206) or missing (TM1205). */
export async function readClaims(store: Store): Promise<Claims> {
  const owners: Owner[] = [];
  const lost = new Map<number, TmError>();
  let newest = 0;
  for await (const { name } of store.list(PREFIX)) {
    const generation = Number.parseInt(OWNER_NAME.exec(name)?.[1] ?? '', 16);
    if (!Number.isSafeInteger(generation) || generation <= newest) continue;
    for (let missing = newest + 1; missing < generation; missing++)
      lost.set(missing, new TmError('TM1205', ownerName(missing)));
    newest = generation;
    try {
      owners.push(await readOwner(store, name));
    } catch (error) {
      if (!(error instanceof TmError && ['TM1205', 'TM1206'].includes(error.code))) throw error;
      lost.set(generation, error);
    }
  }
  return { owners, lost, newest };
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
  readonly gaps?: readonly JournalGap[] | undefined;
  readonly lostClaims?: readonly number[] | undefined;
  readonly now: Date;
}

/** Takes the generation after the newest claim, damaged or not. Throws TM1207 where another registry took it first. */
export async function claimOwner(store: Store, { takenIn, now, ...claim }: OwnerClaim): Promise<Owner> {
  const generation = (await newestGeneration(store)) + 1;
  const owner: Owner = { ...claim, generation, takenIn: { ...takenIn }, time: now.toISOString() };
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
