import { createRequire } from 'node:module';
import type { RecordCursor } from './records.ts';
import type { TreePath } from './tree-path.ts';

const { Blake3Hasher } = loadBlake3(createRequire(import.meta.url));

/** The package's own way to its binary tries other names first, which takes milliseconds of every start. */
function loadBlake3(load: NodeJS.Require): typeof import('@napi-rs/blake-hash') {
  try {
    return load(`@napi-rs/blake-hash-linux-${process.arch}-gnu`);
  } catch {
    return load('@napi-rs/blake-hash');
  }
}

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

  /** As `digest`, its 32 bytes into `out`. */
  digestInto(bytes: Uint8Array, out: Buffer, at: number): void {
    this.#hasher.update(bytes as Buffer);
    out.write(this.#hasher.digest('hex'), at, 32, 'hex');
    this.#hasher.reset();
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
    const bytes = this.#room(length);
    bytes.writeUInt16LE(dir.length, 0);
    dir.copy(bytes, 2);
    bytes[2 + dir.length] = name.length;
    name.copy(bytes, 3 + dir.length);
    state.copy(bytes, 3 + dir.length + name.length);
    return this.#hasher.digest(bytes.subarray(0, length));
  }

  /** Of the cursor's present record, into `out`. */
  hashRecord(
    { body, dirAt, dirLength, nameAt, nameLength, stateAt, stateLength }: RecordCursor,
    out: Buffer,
    at: number,
  ): void {
    const length = 3 + dirLength + nameLength + stateLength;
    const bytes = this.#room(length);
    // In a body, both lengths stand before what they measure in the same form.
    body.copy(bytes, 0, dirAt - 2, dirAt + dirLength);
    body.copy(bytes, 2 + dirLength, nameAt - 1, nameAt + nameLength);
    body.copy(bytes, 3 + dirLength + nameLength, stateAt, stateAt + stateLength);
    this.#hasher.digestInto(bytes.subarray(0, length), out, at);
  }

  #room(length: number): Buffer {
    if (length > this.#scratch.length) this.#scratch = Buffer.allocUnsafe(length * 2);
    return this.#scratch;
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

  /** The 32 bytes from `at`; so in `subtract`. */
  add(bytes: Uint8Array, at = 0): this {
    let carry = 0;
    for (let i = 0; i < 8; i++) {
      const sum = this.#words[i]! + word(bytes, at + i * 4) + carry;
      this.#words[i] = sum;
      carry = sum > 0xffff_ffff ? 1 : 0;
    }
    return this;
  }

  subtract(bytes: Uint8Array, at = 0): this {
    let borrow = 0;
    for (let i = 0; i < 8; i++) {
      const difference = this.#words[i]! - word(bytes, at + i * 4) - borrow;
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

function word(bytes: Uint8Array, at: number): number {
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
