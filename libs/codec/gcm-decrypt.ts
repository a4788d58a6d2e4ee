import { createDecipheriv } from 'node:crypto';
import { TmError } from '../model/errors.ts';
import { cryptoGcm, GCM_TAG_BYTES } from './gcm.ts';
import { nodeExports } from './native.ts';

/** What was sealed with AES-256-GCM. `nonce`: 12 bytes, `tag`: 16. */
export interface Sealed {
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
  readonly bytes: Uint8Array;
  readonly tag: Uint8Array;
}

/**
 * Writes the plaintext to `into`, which has its length. False where any part was altered: `into` holds anything then. Not
 * for two threads at once.
 */
export type GcmDecrypt = (key: Uint8Array, sealed: Sealed, into: Uint8Array) => boolean;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
// EVP_CTRL_AEAD_SET_TAG of openssl/evp.h; the default length of the nonce is NONCE_BYTES.
const SET_TAG = 0x11;

const evp = () =>
  nodeExports({
    EVP_aes_256_gcm: ['void *'],
    EVP_CIPHER_CTX_new: ['void *'],
    EVP_CIPHER_CTX_ctrl: ['int', 'void *', 'int', 'int', 'uint8_t *'],
    EVP_DecryptInit_ex: ['int', 'void *', 'void *', 'void *', 'uint8_t *', 'uint8_t *'],
    EVP_DecryptUpdate: ['int', 'void *', 'uint8_t *', 'uint8_t *', 'uint8_t *', 'int'],
    EVP_DecryptFinal_ex: ['int', 'void *', 'uint8_t *', 'uint8_t *'],
  });

/** Native code believes what it is told of lengths. */
function checkLengths(key: Uint8Array, { nonce, bytes, tag }: Sealed, into: Uint8Array): void {
  const right = key.length === KEY_BYTES && nonce.length === NONCE_BYTES && tag.length === GCM_TAG_BYTES;
  if (!right || into.length !== bytes.length) throw new TmError('TM1099', 'key, nonce, tag or room');
}

/** Through Node's exported OpenSSL, with one context that is kept as long as the thread; undefined where that does not work. */
export function nativeGcmDecrypt(): GcmDecrypt | undefined {
  const lib = evp();
  const context: unknown = lib?.EVP_CIPHER_CTX_new();
  if (!lib || !context) return undefined;
  const written = Buffer.alloc(4);
  const rest = Buffer.alloc(16);
  const decrypt: GcmDecrypt = (key, sealed, into) => {
    checkLengths(key, sealed, into);
    const { nonce, associated, bytes, tag } = sealed;
    return (
      lib.EVP_DecryptInit_ex(context, null, null, key, nonce) === 1 &&
      lib.EVP_CIPHER_CTX_ctrl(context, SET_TAG, GCM_TAG_BYTES, tag) === 1 &&
      lib.EVP_DecryptUpdate(context, null, written, associated, associated.length) === 1 &&
      lib.EVP_DecryptUpdate(context, into, written, bytes, bytes.length) === 1 &&
      lib.EVP_DecryptFinal_ex(context, rest, written) === 1
    );
  };
  const ready = lib.EVP_DecryptInit_ex(context, lib.EVP_aes_256_gcm(), null, null, null) === 1;
  return ready && isRight(decrypt) ? decrypt : undefined;
}

/** Through node:crypto, which makes a context and memory for each call. */
export const cryptoGcmDecrypt: GcmDecrypt = (key, sealed, into) => {
  checkLengths(key, sealed, into);
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.nonce);
  decipher.setAAD(sealed.associated).setAuthTag(sealed.tag);
  into.set(decipher.update(sealed.bytes));
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
};

let own: GcmDecrypt | undefined;

/** The thread's own, made when it is needed: most commands open no frame. */
export const gcmDecrypt: GcmDecrypt = (key, sealed, into) => {
  own ??= nativeGcmDecrypt() ?? cryptoGcmDecrypt;
  return own(key, sealed, into);
};

/** It opens what was sealed, and refuses every kind of alteration. */
function isRight(decrypt: GcmDecrypt): boolean {
  const key = Buffer.alloc(KEY_BYTES, 7);
  const plain = Buffer.from('self-test');
  const bytes = Buffer.from(plain);
  const sealed = { nonce: Buffer.alloc(NONCE_BYTES, 0xff), associated: Buffer.from('associated'), bytes };
  const whole = { ...sealed, tag: Buffer.alloc(GCM_TAG_BYTES) };
  cryptoGcm(key).encrypt(whole.nonce, whole.associated, whole.bytes, whole.tag);
  const into = Buffer.alloc(plain.length);
  const refuses = (['nonce', 'associated', 'bytes', 'tag'] as const).every(
    (part) => !decrypt(key, { ...whole, [part]: altered(whole[part]) }, into),
  );
  return refuses && decrypt(key, whole, into) && into.equals(plain);
}

function altered(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  other[0]! ^= 1;
  return other;
}
