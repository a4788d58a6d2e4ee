import { TmError } from '../model/errors.ts';
import type { RebuildFinding } from '../rebuild/finding.ts';
import type { Store } from '../store/port.ts';
import { createStoreIdentity, readStoreIdentity, STORE_IDENTITY_NAME } from '../store/store-identity.ts';

/** What tidemark.json says of the store, or what is wrong with it. */
export type FoundIdentity = { readonly storeId: string } | { readonly problem: TmError };

/** A missing one (TM1202) and a damaged one (TM1206) are given, what else fails is thrown. */
export async function identityOf(store: Store): Promise<FoundIdentity> {
  try {
    const identity = await readStoreIdentity(store);
    if (identity) return { storeId: identity.storeId };
    return { problem: new TmError('TM1202', `${store.url} lacks ${STORE_IDENTITY_NAME}`) };
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1206') return { problem: error };
    throw error;
  }
}

/** Makes a missing one anew. A damaged one stays: writers can't replace objects. */
export async function writeIdentity(store: Store, found: FoundIdentity, storeId: string): Promise<void> {
  if ('problem' in found && found.problem.code === 'TM1202')
    await createStoreIdentity(store, storeId, new Date());
}

export function identityLosses(found: FoundIdentity): RebuildFinding[] {
  if (!('problem' in found)) return [];
  const { code, message } = found.problem;
  const object = STORE_IDENTITY_NAME;
  if (code === 'TM1202')
    return [{ code: 'TM1205', object, message: `${object} was missing; it was made anew from the journal` }];
  return [
    {
      code,
      object,
      message: `${message}; backups can be read. To go on, remove the damaged object and run \`tidemark registry rebuild\` again`,
    },
  ];
}
