import { type DomainSecret, KeyRing, recipientOf, unwrapDomain } from '../blocks/keys.ts';
import { domainKeyName } from '../cell/domain-key-name.ts';
import { catalogueRoutes } from '../contracts/api/control.ts';
import type { HttpClient } from '../http/client.ts';
import { TmError } from '../model/errors.ts';
import type { ReadingKeys } from '../restore/block-supplier.ts';

/**
 * What reading a domain back needs. The server gives wrapped keys only; the identity, which never leaves this process,
 * opens them. Throws TM1401 where it is not one of the domain's recipients.
 */
export async function remoteReadingKeys(
  control: HttpClient,
  domain: string,
  identity: string,
  signal: AbortSignal,
): Promise<ReadingKeys> {
  const secret = await secretOf(control, domain, identity, signal);
  const ring = new KeyRing(secret, async (id) => {
    const name = id.toString('hex');
    const { wrapped } = await control
      .call(catalogueRoutes.dataKey, { params: { id: name } }, { signal })
      .catch((error) => missing(error, `data key ${name}`));
    return Buffer.from(wrapped, 'base64');
  });
  return { ring, dedupKey: secret.dedupKey, domainId: secret.id };
}

async function secretOf(
  control: HttpClient,
  domain: string,
  identity: string,
  signal: AbortSignal,
): Promise<DomainSecret> {
  const { keys } = await control
    .call(catalogueRoutes.domainKeys, { params: { domain } }, { signal })
    .catch((error) => missing(error, `keys of domain ${domain}`));
  const wanted = domainKeyName(domain, 1, await recipientOf(identity));
  const own = keys.find(({ name }) => name === wanted);
  if (!own) throw new TmError('TM1401', `domain ${domain} has no key for it`);
  const secret = await unwrapDomain(Buffer.from(own.wrapped, 'base64'), identity);
  if (secret.id !== domain) throw new TmError('TM1404', `${wanted} holds the keys of domain ${secret.id}`);
  return secret;
}

function missing(error: unknown, what: string): never {
  if (error instanceof TmError && error.code === 'TM1811')
    throw new TmError('TM1404', `${what}: missing`, { cause: error });
  throw error;
}
