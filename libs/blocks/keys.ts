import { randomBytes } from 'node:crypto';
import { KeyedHasher } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';

/** What an agent keeps of its domain: enough to write, not to read back. */
export interface DomainKeys {
  /** UUID. */
  readonly id: string;
  /** age X25519 recipient of the domain, to which data keys are wrapped. */
  readonly recipient: string;
  /** Key of block ids, 32 bytes. */
  readonly dedupKey: Buffer;
  /** Key of content digests, the same for all domains of a store, 32 bytes. */
  readonly digestKey: Buffer;
}

/** With the domain's private key (an age identity). */
export interface DomainSecret extends DomainKeys {
  readonly identity: string;
}

export interface NewDataKey {
  /** 16 bytes. */
  readonly id: Buffer;
  /** AES-256 key. */
  readonly key: Buffer;
  /** age file to the domain's recipient of id and key. */
  readonly wrapped: Buffer;
}

const AGE_MAGIC = 'age-encryption.org/v1';
const ARMOR_MAGIC = '-----BEGIN AGE ENCRYPTED FILE-----';
const IDENTITY = /AGE-SECRET-KEY-1[0-9A-Z]+/;
const KEY_ID_BYTES = 16;
const KEY_BYTES = 32;

/** Loaded when first needed: it costs 50 ms. */
const age = () => import('age-encryption');

export const generateIdentity = async (): Promise<string> => (await age()).generateX25519Identity();
export const recipientOf = async (identity: string): Promise<string> =>
  (await age()).identityToRecipient(identity);

/** Seed of the domain's gear table. */
export const gearSeedOf = (domain: DomainKeys): Buffer =>
  new KeyedHasher(domain.dedupKey).digest(Buffer.from('tidemark gear seed'));

async function encryptTo(recipients: readonly string[], plain: Uint8Array): Promise<Buffer> {
  const { Encrypter } = await age();
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return gather(await encrypter.encrypt(ReadableStream.from([plain])));
}

/**
 * Bytes go to the library and come from it as streams: of bytes it makes a fetch Response, for which Node loads an HTTP
 * client (20 ms).
 */
const gather = async (stream: ReadableStream<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(stream));

async function decryptWith(identity: string, file: Uint8Array): Promise<Buffer> {
  const { Decrypter } = await age();
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return gather(await decrypter.decrypt(ReadableStream.from([file])));
}

/** An identity file under a passphrase (age scrypt, armored). */
export async function protectIdentity(identity: string, passphrase: string): Promise<Buffer> {
  const { Encrypter, armor } = await age();
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  return Buffer.from(armor.encode(await encrypter.encrypt(Buffer.from(`${identity}\n`))));
}

/** The identity in a file of age-keygen's form, or under a passphrase. Throws TM1403 or TM1402 (no identity in it). */
export async function openIdentity(file: Buffer, passphrase?: string): Promise<string> {
  const text = file.toString('latin1');
  const plain =
    text.startsWith(ARMOR_MAGIC) || text.startsWith(AGE_MAGIC)
      ? await openProtected(file, text, passphrase)
      : text;
  const identity = plain.match(IDENTITY)?.[0];
  if (!identity) throw new TmError('TM1402', 'the file holds no age identity (AGE-SECRET-KEY-1…)');
  return identity;
}

async function openProtected(file: Buffer, text: string, passphrase: string | undefined): Promise<string> {
  if (!passphrase) throw new TmError('TM1403', 'the identity is under a passphrase');
  const { Decrypter, armor } = await age();
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  try {
    const bytes = text.startsWith(ARMOR_MAGIC) ? armor.decode(text) : file;
    return Buffer.from(await decrypter.decrypt(bytes)).toString('latin1');
  } catch (error) {
    throw new TmError('TM1403', undefined, { cause: error });
  }
}

export async function newDomain(id: string, digestKey: Buffer): Promise<DomainSecret> {
  const identity = await generateIdentity();
  return {
    id,
    identity,
    recipient: await recipientOf(identity),
    dedupKey: randomBytes(KEY_BYTES),
    digestKey,
  };
}

/** The domain's keys as an age file to the recipients: JSON {v, id, identity, dedupKey, digestKey}, keys in base64. */
export async function wrapDomain(domain: DomainSecret, recipients: readonly string[]): Promise<Buffer> {
  const { id, identity } = domain;
  const keys = {
    dedupKey: domain.dedupKey.toString('base64'),
    digestKey: domain.digestKey.toString('base64'),
  };
  return encryptTo(recipients, Buffer.from(JSON.stringify({ v: 1, id, identity, ...keys })));
}

/** Throws TM1401 (wrong identity) or TM1404 (damaged). */
export async function unwrapDomain(file: Buffer, identity: string): Promise<DomainSecret> {
  if (!file.toString('latin1', 0, AGE_MAGIC.length).startsWith(AGE_MAGIC))
    throw new TmError('TM1404', 'no age file');
  let plain: Buffer;
  try {
    plain = await decryptWith(identity, file);
  } catch (error) {
    const wrong = error instanceof Error && /no identity matched/.test(error.message);
    throw new TmError(wrong ? 'TM1401' : 'TM1404', undefined, { cause: error });
  }
  const json = JSON.parse(plain.toString()) as {
    v: number;
    id: string;
    identity: string;
    dedupKey: string;
    digestKey: string;
  };
  if (json.v !== 1) throw new TmError('TM1209', `domain keys of version ${json.v}`);
  const [dedupKey, digestKey] = [Buffer.from(json.dedupKey, 'base64'), Buffer.from(json.digestKey, 'base64')];
  if (dedupKey.length !== KEY_BYTES || digestKey.length !== KEY_BYTES)
    throw new TmError('TM1404', 'a key of wrong length');
  return {
    id: json.id,
    identity: json.identity,
    recipient: await recipientOf(json.identity),
    dedupKey,
    digestKey,
  };
}

export async function newDataKey(domain: DomainKeys): Promise<NewDataKey> {
  const [id, key] = [randomBytes(KEY_ID_BYTES), randomBytes(KEY_BYTES)];
  return { id, key, wrapped: await encryptTo([domain.recipient], Buffer.concat([id, key])) };
}

/** Throws TM1404 where the file is damaged or belongs to another id or domain. */
async function unwrapDataKey(id: Buffer, wrapped: Buffer, domain: DomainSecret): Promise<Buffer> {
  let plain: Buffer;
  try {
    plain = await decryptWith(domain.identity, wrapped);
  } catch (error) {
    throw new TmError('TM1404', `data key ${id.toString('hex')}`, { cause: error });
  }
  const fits = plain.length === KEY_ID_BYTES + KEY_BYTES && plain.subarray(0, KEY_ID_BYTES).equals(id);
  if (!fits) throw new TmError('TM1404', `data key ${id.toString('hex')}`);
  return plain.subarray(KEY_ID_BYTES);
}

/** Data keys opened so far; each is fetched and unwrapped once. */
export class KeyRing {
  readonly #domain: DomainSecret;
  readonly #fetch: (id: Buffer) => Promise<Buffer>;
  readonly #keys = new Map<string, Promise<Buffer>>();

  constructor(domain: DomainSecret, fetch: (id: Buffer) => Promise<Buffer>) {
    this.#domain = domain;
    this.#fetch = fetch;
  }

  get(id: Buffer): Promise<Buffer> {
    const name = id.toString('hex');
    let key = this.#keys.get(name);
    if (!key) {
      key = this.#fetch(id).then((wrapped) => unwrapDataKey(id, wrapped, this.#domain));
      this.#keys.set(name, key);
    }
    return key;
  }
}
