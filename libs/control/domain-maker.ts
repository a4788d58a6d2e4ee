import { randomBytes, randomUUID } from 'node:crypto';
import { type DomainKeys, newDomain, wrapDomain } from '../blocks/keys.ts';
import { domainKeyName } from '../cell/domain-key-name.ts';
import { TmError } from '../model/errors.ts';
import type { JournalRecord } from '../store/journal-records.ts';
import type { ControlParts } from './parts.ts';

/** Digest keys are those of the store: whoever makes the first domain chooses it alone. */
const MAKING_DOMAINS = 'domains';
const DIGEST_KEY_BYTES = 32;

/** A domain that is in the store and not yet in journal and registry. */
export interface MadeDomain {
  readonly keys: DomainKeys;
  readonly record: JournalRecord;
}

/**
 * Makes a domain's keys and puts them into the store, wrapped to every recipient. The private key is forgotten: the
 * recipients' identities alone read back what is written in the domain. `use` is called while nobody else makes one.
 */
export async function makeDomain<T>(
  { cell: { registry, store }, recipients }: Pick<ControlParts, 'cell' | 'recipients'>,
  use: (made: MadeDomain) => Promise<T>,
): Promise<T> {
  if (recipients.length === 0)
    throw new TmError('TM1002', 'no recipients of the keys of new domains are set');
  return registry.journal.withWriter(MAKING_DOMAINS, async () => {
    const [first] = await registry.domains.list();
    const secret = await newDomain(randomUUID(), first?.digestKey ?? randomBytes(DIGEST_KEY_BYTES));
    for (const recipient of recipients)
      await store.create(domainKeyName(secret.id, 1, recipient), [await wrapDomain(secret, [recipient])]);
    const { identity: _, ...keys } = secret;
    return use({
      keys,
      record: { kind: 'recipients', domain: keys.id, generation: 1, recipients },
    });
  });
}
