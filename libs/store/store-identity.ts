import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { moment, openObject, whole } from './open-object.ts';
import type { Store } from './port.ts';
import { checkStored, encodeStoredJson, parseStoredJson } from './stored-json.ts';

export const STORE_IDENTITY_NAME = 'tidemark.json';
/** Major version of the store's layout; a program refuses a newer one. */
const STORE_FORMAT = 1;
/** What readers may rely on, in bytes; part of the format (1-architecture, "Blocks"). */
const LIMITS = { frameBytes: 8 * 1024 * 1024, packBytes: 64 * 1024 * 1024 };

const Format = openObject({ format: z.int().positive() });
const StoreIdentity = openObject({
  format: z.literal(STORE_FORMAT),
  storeId: z.uuid(),
  created: moment,
  limits: openObject({ frameBytes: whole.positive(), packBytes: whole.positive() }),
});

/** Which store this is: made once, at init, and never changed. */
export type StoreIdentity = z.infer<typeof StoreIdentity>;

/** Undefined where there is no store yet. Throws TM1206 (damaged) or TM1209 (a newer major format). */
export async function readStoreIdentity(store: Store): Promise<StoreIdentity | undefined> {
  const bytes = await unlessMissing(store.read(STORE_IDENTITY_NAME));
  if (bytes === undefined) return undefined;
  const value = parseStoredJson(STORE_IDENTITY_NAME, bytes);
  const { format } = checkStored(STORE_IDENTITY_NAME, Format, value);
  if (format > STORE_FORMAT) {
    throw new TmError(
      'TM1209',
      `${STORE_IDENTITY_NAME} has format ${format}, this program knows ${STORE_FORMAT}`,
    );
  }
  return checkStored(STORE_IDENTITY_NAME, StoreIdentity, value);
}

async function unlessMissing(read: Promise<Buffer>): Promise<Buffer | undefined> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1205') return undefined;
    throw error;
  }
}

/** Makes the place a store. `storeId` is a UUID. Throws TM1207 where another one was made there meanwhile. */
export async function createStoreIdentity(store: Store, storeId: string, now: Date): Promise<StoreIdentity> {
  const identity: StoreIdentity = {
    format: STORE_FORMAT,
    storeId,
    created: now.toISOString(),
    limits: LIMITS,
  };
  try {
    await store.create(STORE_IDENTITY_NAME, [encodeStoredJson(identity)]);
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1210')) throw error;
    throw new TmError('TM1207', `a store was made at ${store.url} meanwhile`, { cause: error });
  }
  return identity;
}
