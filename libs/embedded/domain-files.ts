import { readFile } from 'node:fs/promises';
import {
  type DomainKeys,
  type DomainSecret,
  generateIdentity,
  openIdentity,
  protectIdentity,
  recipientOf,
  unwrapDomain,
} from '../blocks/keys.ts';
import { domainKeyName } from '../cell/domain-key-name.ts';
import { TmError } from '../model/errors.ts';
import { listWriters, readJournalObject } from '../store/journal.ts';
import { journalName } from '../store/journal-name.ts';
import type { Store } from '../store/port.ts';
import type { EngineConfig } from './engine.ts';
import { createSecret, type Home, readSecret, writeSecret } from './home.ts';

/** What finding the identity needs of a home. */
type IdentityHome = Pick<Home, 'identityFile'>;
type KeyConfig = Pick<EngineConfig, 'identityFile' | 'passphrase'>;

/** What an agent keeps of its domain: it writes with it and can't read back. */
interface DomainFile {
  readonly version: 1;
  readonly id: string;
  readonly recipient: string;
  readonly dedupKey: string;
  readonly digestKey: string;
}

export async function saveDomain(home: Home, domain: DomainKeys): Promise<void> {
  const file: DomainFile = {
    version: 1,
    id: domain.id,
    recipient: domain.recipient,
    dedupKey: domain.dedupKey.toString('base64'),
    digestKey: domain.digestKey.toString('base64'),
  };
  await writeSecret(home.domainFile, JSON.stringify(file));
}

/** From the home; where the file is lost, from the store with the identity. */
export async function loadDomain(home: Home, store: Store, config: KeyConfig): Promise<DomainKeys> {
  try {
    const file = JSON.parse((await readSecret(home.domainFile)).toString()) as DomainFile;
    const { id, recipient } = file;
    return {
      id,
      recipient,
      dedupKey: Buffer.from(file.dedupKey, 'base64'),
      digestKey: Buffer.from(file.digestKey, 'base64'),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const { identity: _, ...domain } = await findDomainSecret(home, store, config);
    await saveDomain(home, domain);
    return domain;
  }
}

/** The identity of --identity, else of the home. Throws TM1402 (missing), TM1403 (passphrase), TM1405 (open to others). */
export async function readIdentity(home: IdentityHome, config: KeyConfig): Promise<string> {
  const file = config.identityFile ?? home.identityFile;
  const bytes = await readIdentityFile(file, config.identityFile !== undefined);
  const identity = await openIdentity(bytes, config.passphrase).catch((error) => {
    throw error instanceof TmError ? new TmError(error.code, file, { cause: error }) : error;
  });
  await recipientOf(identity).catch((cause) => {
    throw new TmError('TM1402', `${file} holds no valid age identity`, { cause });
  });
  return identity;
}

/** A file that was named may lie on a medium without modes; the home's own must be for its owner only. */
async function readIdentityFile(file: string, named: boolean): Promise<Buffer> {
  try {
    return named ? await readFile(file) : await readSecret(file);
  } catch (error) {
    if (error instanceof TmError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new TmError('TM1402', code === 'ENOENT' ? file : `${file} (${code})`, { cause: error });
  }
}

/** Makes the identity of a new home, or takes the one that is given or there already. */
export async function ensureIdentity(
  home: Home,
  config: KeyConfig,
): Promise<{ identity: string; made: boolean }> {
  try {
    const identity = await readIdentity(home, config);
    return { identity, made: false };
  } catch (error) {
    if (!(error instanceof TmError && error.code === 'TM1402') || config.identityFile) throw error;
  }
  const identity = await generateIdentity();
  const content = config.passphrase ? await protectIdentity(identity, config.passphrase) : `${identity}\n`;
  if (await createSecret(home.identityFile, content)) return { identity, made: true };
  return { identity: await readIdentity(home, config), made: false };
}

async function readKeyObject(store: Store, name: string): Promise<Buffer> {
  try {
    return await store.read(name);
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1205')
      throw new TmError('TM1404', `${name} is missing`, { cause: error });
    throw error;
  }
}

async function unlessMissing(read: Promise<Buffer>): Promise<Buffer | undefined> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof TmError && error.code === 'TM1404') return undefined;
    throw error;
  }
}

/** The domain's private key. Throws TM1401 where the identity opens none of its key objects. */
export async function openDomainSecret(
  home: IdentityHome,
  store: Store,
  domain: string,
  config: KeyConfig,
): Promise<DomainSecret> {
  const identity = await readIdentity(home, config);
  const name = domainKeyName(domain, 1, await recipientOf(identity));
  const object = await unlessMissing(readKeyObject(store, name));
  if (object) {
    return unwrapDomain(object, identity).catch((error) => {
      throw error instanceof TmError ? new TmError(error.code, name, { cause: error }) : error;
    });
  }
  for await (const other of store.list(`keys/${domain}/`)) {
    throw new TmError('TM1401', `it is not the one that ${other.name} was made for`);
  }
  throw new TmError('TM1404', `${name} is missing`);
}

/**
 * As above, for a home that does not know its domain: the first of the journal's domains that the identity opens. Key
 * objects of other domains may lie in the store since an init that broke off.
 */
export async function findDomainSecret(
  home: IdentityHome,
  store: Store,
  config: KeyConfig,
): Promise<DomainSecret> {
  let failure = new TmError('TM1404', 'the store has no key objects');
  for (const domain of await journalDomains(store)) {
    try {
      return await openDomainSecret(home, store, domain, config);
    } catch (error) {
      if (!(error instanceof TmError && ['TM1401', 'TM1404'].includes(error.code))) throw error;
      failure = error;
    }
  }
  throw failure;
}

export interface FoundSecrets {
  /** Those that the store was made with first. */
  readonly secrets: readonly DomainSecret[];
  /** Domains whose keys for this identity are damaged. */
  readonly damaged: ReadonlyMap<string, TmError>;
}

/**
 * Every domain that the identity opens. Throws where there is none, and where what the identity opens is not what the
 * store was made with, whose keys are damaged.
 */
export async function findDomainSecrets(
  home: IdentityHome,
  store: Store,
  config: KeyConfig,
): Promise<FoundSecrets> {
  const first = await journalDomains(store);
  const secrets: DomainSecret[] = [];
  const damaged = new Map<string, TmError>();
  let failure = new TmError('TM1404', 'the store has no key objects');
  for (const domain of new Set([...first, ...(await domainsWithKeys(store))])) {
    try {
      secrets.push(await openDomainSecret(home, store, domain, config));
    } catch (error) {
      if (!(error instanceof TmError && ['TM1401', 'TM1404'].includes(error.code))) throw error;
      failure = error;
      if (error.code === 'TM1404') damaged.set(domain, error);
    }
  }
  const lost = [...first].flatMap((domain) => damaged.get(domain) ?? []);
  if (lost[0] && !secrets.some(({ id }) => first.has(id))) throw lost[0];
  if (secrets.length === 0) throw failure;
  return { secrets, damaged };
}

async function domainsWithKeys(store: Store): Promise<Set<string>> {
  const domains = new Set<string>();
  for await (const { name } of store.list('keys/')) {
    const domain = name.split('/')[1]!;
    if (domain !== 'data') domains.add(domain);
  }
  return domains;
}

function noneIfDamaged(error: unknown): undefined {
  if (!(error instanceof TmError && error.code === 'TM1212')) throw error;
}

/** Domains that the store was made with: the first object of its first writer names them. Else all that have keys. */
async function journalDomains(store: Store): Promise<Set<string>> {
  const domains = new Set<string>();
  for (const writer of await listWriters(store)) {
    if ((await store.stat(journalName(writer, 1))) === undefined) continue;
    const first = await readJournalObject(store, writer, 1).catch(noneIfDamaged);
    for (const record of first?.records ?? [])
      if (record.kind === 'store') for (const domain of record.domains) domains.add(domain);
  }
  return domains.size > 0 ? domains : domainsWithKeys(store);
}
