import { createRequire } from 'node:module';
import type { TreePath } from './tree-path.ts';

const { Blake3Hasher } = createRequire(import.meta.url)(
  '@napi-rs/blake-hash',
) as typeof import('@napi-rs/blake-hash');

type Hasher = InstanceType<typeof Blake3Hasher>;

/**
 * By way of text: a buffer that native code hands out costs three times as much, and memory until some later garbage
 * collection.
 */
const digestOf = (hasher: Hasher): Buffer => Buffer.from(hasher.digest('hex'), 'hex');

const unkeyed = new Blake3Hasher();

/** BLAKE3 of the bytes, unkeyed; 32 bytes. */
export function blake3(...parts: readonly Uint8Array[]): Buffer {
  for (const part of parts) unkeyed.update(part as Buffer);
  const digest = digestOf(unkeyed);
  unkeyed.reset();
  return digest;
}

/** BLAKE3 with a 32-byte key. One object serves many messages, one at a time: making one costs 20 µs. */
export class KeyedHasher {
  readonly #hasher: Hasher;

  constructor(key: Buffer) {
    this.#hasher = Blake3Hasher.newKeyed(key);
  }

  update(bytes: Uint8Array): this {
    this.#hasher.update(bytes as Buffer);
    return this;
  }

  /** 32 bytes; the object is ready for the next message. */
  finish(): Buffer {
    const digest = digestOf(this.#hasher);
    this.#hasher.reset();
    return digest;
  }

  digest(bytes: Uint8Array): Buffer {
    return this.update(bytes).finish();
  }
}

/** Hash of an entry: keyed (per source) BLAKE3 of u16 length and bytes of dir, u8 length and bytes of name, state. */
export class EntryHasher {
  readonly #hasher: KeyedHasher;
  #scratch = Buffer.allocUnsafe(16 * 1024);

  constructor(sourceKey: Buffer) {
    this.#hasher = new KeyedHasher(sourceKey);
  }

  hash(dir: TreePath, name: Buffer, state: Buffer): Buffer {
    const length = 3 + dir.length + name.length + state.length;
    if (length > this.#scratch.length) this.#scratch = Buffer.allocUnsafe(length * 2);
    const bytes = this.#scratch;
    bytes.writeUInt16LE(dir.length, 0);
    dir.copy(bytes, 2);
    bytes[2 + dir.length] = name.length;
    name.copy(bytes, 3 + dir.length);
    state.copy(bytes, 3 + dir.length + name.length);
    return this.#hasher.digest(bytes.subarray(0, length));
  }
}

/**
 * Sum of 32-byte hashes modulo 2^256, little-endian: the state digest of a tree (over its entry hashes) and of what
 * a change adds and takes away. Order-free; keyed hashes keep it from being forged.
 */
export class DigestSum {
  readonly #words = new Uint32Array(8);

  static from(bytes: Uint8Array): DigestSum {
    return new DigestSum().add(bytes);
  }

  add(bytes: Uint8Array): this {
    let carry = 0;
    for (let i = 0; i < 8; i++) {
      const sum = this.#words[i]! + word(bytes, i) + carry;
      this.#words[i] = sum;
      carry = sum > 0xffff_ffff ? 1 : 0;
    }
    return this;
  }

  subtract(bytes: Uint8Array): this {
    let borrow = 0;
    for (let i = 0; i < 8; i++) {
      const difference = this.#words[i]! - word(bytes, i) - borrow;
      this.#words[i] = difference;
      borrow = difference < 0 ? 1 : 0;
    }
    return this;
  }

  bytes(): Buffer {
    const out = Buffer.alloc(32);
    this.#words.forEach((value, i) => {
      out.writeUInt32LE(value, i * 4);
    });
    return out;
  }
}

function word(bytes: Uint8Array, i: number): number {
  const at = i * 4;
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** First 16 bytes of the BLAKE3 of a directory's tree path: the registry's key for the directory. */
export function directoryHash(dir: TreePath): Buffer {
  return blake3(dir).subarray(0, 16);
}

/** Unkeyed BLAKE3 of bytes that come in pieces. */
export class Blake3Stream {
  readonly #hasher = new Blake3Hasher();

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes as Buffer);
  }

  finish(): Buffer {
    return digestOf(this.#hasher);
  }
}
