import { createCipheriv } from 'node:crypto';
import { TmError } from '../model/errors.ts';
import { nodeExports } from './native.ts';

export const GCM_TAG_BYTES = 16;

/** AES-256-GCM under one key. Not for two threads at once; that no nonce comes twice is the caller's duty. */
export interface GcmCipher {
  /** Encrypts `bytes` where they are and writes the tag (16 bytes) to `tag`. `nonce`: 12 bytes. */
  encrypt(nonce: Uint8Array, associated: Uint8Array, bytes: Uint8Array, tag: Uint8Array): void;
  /** Frees native memory and the key schedule in it, which no garbage collection does. */
  close(): void;
}

// EVP_CTRL_AEAD_GET_TAG of openssl/evp.h; the default length of the nonce is 12.
const GET_TAG = 0x10;

const evp = () =>
  nodeExports({
    EVP_aes_256_gcm: ['void *'],
    EVP_CIPHER_CTX_new: ['void *'],
    EVP_CIPHER_CTX_free: ['void', 'void *'],
    EVP_CIPHER_CTX_ctrl: ['int', 'void *', 'int', 'int', 'uint8_t *'],
    EVP_EncryptInit_ex: ['int', 'void *', 'void *', 'void *', 'uint8_t *', 'uint8_t *'],
    EVP_EncryptUpdate: ['int', 'void *', 'uint8_t *', 'uint8_t *', 'uint8_t *', 'int'],
    EVP_EncryptFinal_ex: ['int', 'void *', 'uint8_t *', 'uint8_t *'],
  });

function check(result: number): void {
  if (result !== 1) throw new TmError('TM1099', 'AES-256-GCM failed');
}

/** Through Node's exported OpenSSL, with one context that keeps the key's schedule; undefined where that does not work. */
export function nativeGcm(key: Uint8Array): GcmCipher | undefined {
  const lib = evp();
  const context: unknown = lib?.EVP_CIPHER_CTX_new();
  if (!lib || !context) return undefined;
  const written = Buffer.alloc(4);
  const nothing = Buffer.alloc(16);
  const cipher: GcmCipher = {
    encrypt(nonce, associated, bytes, tag) {
      if (nonce.length !== 12 || tag.length !== GCM_TAG_BYTES) throw new TmError('TM1099', 'nonce or tag');
      check(lib.EVP_EncryptInit_ex(context, null, null, null, nonce));
      check(lib.EVP_EncryptUpdate(context, null, written, associated, associated.length));
      check(lib.EVP_EncryptUpdate(context, bytes, written, bytes, bytes.length));
      check(lib.EVP_EncryptFinal_ex(context, nothing, written));
      check(lib.EVP_CIPHER_CTX_ctrl(context, GET_TAG, GCM_TAG_BYTES, tag));
    },
    close: () => {
      lib.EVP_CIPHER_CTX_free(context);
    },
  };
  const initialised = lib.EVP_EncryptInit_ex(context, lib.EVP_aes_256_gcm(), null, key, null) === 1;
  if (initialised && isRight(cipher, key)) return cipher;
  cipher.close();
  return undefined;
}

/** Through node:crypto, which makes a context for each call. */
export const cryptoGcm = (key: Uint8Array): GcmCipher => ({
  encrypt(nonce, associated, bytes, tag) {
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    cipher.setAAD(associated);
    bytes.set(cipher.update(bytes));
    cipher.final();
    tag.set(cipher.getAuthTag());
  },
  close: () => {},
});

export const openGcm = (key: Uint8Array): GcmCipher => nativeGcm(key) ?? cryptoGcm(key);

/**
 * The self-test's nonce is all ones, which frame numbers (their first four bytes are zeros) never give, so that no
 * nonce is used twice under the key.
 */
function isRight(cipher: GcmCipher, key: Uint8Array): boolean {
  const nonce = Buffer.alloc(12, 0xff);
  const sealed = [cipher, cryptoGcm(key)].map((one) => {
    const bytes = Buffer.from('self-test');
    const tag = Buffer.alloc(GCM_TAG_BYTES);
    one.encrypt(nonce, Buffer.from('associated'), bytes, tag);
    return Buffer.concat([bytes, tag]);
  });
  return sealed[0]!.equals(sealed[1]!);
}
