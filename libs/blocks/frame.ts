import { createCipheriv, createDecipheriv } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { TmError } from '../model/errors.ts';
import type { FrameBlock, SealedFrame } from './intake.ts';

/**
 * A frame in a pack: 48 bytes of header in the clear, the ciphertext, 16 bytes of tag. Header, little-endian: magic
 * "TF", u8 version, u8 codec (0 raw, 1 zstd), 16 bytes id of the data key, u64 frame number, u32 length of the
 * plaintext, u32 length of the ciphertext, 12 zero bytes. AES-256-GCM; nonce: 4 zero bytes and the frame number;
 * associated data: "tidemark frame", the domain's UUID (16 bytes), the header.
 */
const FRAME_HEADER_BYTES = 48;
const FRAME_TAG_BYTES = 16;
/** Limit of the format, of plaintext. */
const MAX_FRAME_BYTES = 8 * 1024 * 1024;
const MAGIC = 0x4654;
const VERSION = 1;
const CODEC = { raw: 0, zstd: 1 } as const;
const CONTEXT = Buffer.from('tidemark frame');

export interface FrameHeader {
  readonly codec: number;
  readonly keyId: Buffer;
  readonly frameNo: number;
  readonly plainLength: number;
  readonly storedLength: number;
}

const uuidBytes = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');

function nonceOf(header: Buffer): Buffer {
  const nonce = Buffer.alloc(12);
  header.copy(nonce, 4, 20, 28);
  return nonce;
}

/** Throws TM1206 for what is no header, TM1209 for one of a newer version. Lengths are within the limits afterwards. */
export function parseFrameHeader(bytes: Buffer): FrameHeader {
  if (bytes.length < FRAME_HEADER_BYTES || bytes.readUInt16LE(0) !== MAGIC)
    throw new TmError('TM1206', 'no frame begins here');
  if (bytes[2]! > VERSION) throw new TmError('TM1209', `frame of version ${bytes[2]}`);
  const plainLength = bytes.readUInt32LE(28);
  const storedLength = bytes.readUInt32LE(32);
  if (plainLength > MAX_FRAME_BYTES || storedLength > plainLength)
    throw new TmError('TM1206', 'a frame over its limits');
  const frameNo = Number(bytes.readBigUInt64LE(20));
  return { codec: bytes[3]!, keyId: Buffer.from(bytes.subarray(4, 20)), frameNo, plainLength, storedLength };
}

/** Compresses and encrypts frames under one data key, with frame numbers of its own range; one per thread. */
export class FrameSealer {
  readonly #keyId: Buffer;
  readonly #key: Buffer;
  readonly #aad: Buffer;
  readonly #end: number;
  readonly #level: number;
  #next: number;

  constructor(options: {
    domainId: string;
    keyId: Buffer;
    key: Buffer;
    firstFrameNo: number;
    endFrameNo: number;
    level?: number;
  }) {
    this.#keyId = options.keyId;
    this.#key = options.key;
    this.#aad = Buffer.concat([CONTEXT, uuidBytes(options.domainId)]);
    this.#next = options.firstFrameNo;
    this.#end = options.endFrameNo;
    this.#level = options.level ?? 1;
  }

  /** The blocks' bytes are read at once; the frame's bytes are a buffer of its own that may be transferred. */
  seal(blocks: readonly (FrameBlock & { readonly bytes: Buffer })[]): SealedFrame {
    const plain = blocks.length === 1 ? blocks[0]!.bytes : Buffer.concat(blocks.map((block) => block.bytes));
    if (plain.length > MAX_FRAME_BYTES) throw new TmError('TM1099', `a frame of ${plain.length} bytes`);
    if (this.#next >= this.#end) throw new TmError('TM1099', 'the frame numbers of this key are used up');
    const packed = zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: this.#level } });
    const codec = packed.length < plain.length ? CODEC.zstd : CODEC.raw;
    const body = codec === CODEC.zstd ? packed : plain;
    const bytes = Buffer.from(new ArrayBuffer(FRAME_HEADER_BYTES + body.length + FRAME_TAG_BYTES));
    this.#header(bytes, codec, plain.length, body.length);
    const header = bytes.subarray(0, FRAME_HEADER_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceOf(header));
    cipher.setAAD(Buffer.concat([this.#aad, header]));
    cipher.update(body).copy(bytes, FRAME_HEADER_BYTES);
    cipher.final();
    cipher.getAuthTag().copy(bytes, FRAME_HEADER_BYTES + body.length);
    const clear = blocks.map(({ id, length, kind, children }) => ({ id, length, kind, children }));
    return { bytes, plainLength: plain.length, keyId: this.#keyId, blocks: clear };
  }

  #header(out: Buffer, codec: number, plainLength: number, storedLength: number): void {
    out.writeUInt16LE(MAGIC, 0);
    out[2] = VERSION;
    out[3] = codec;
    this.#keyId.copy(out, 4);
    out.writeBigUInt64LE(BigInt(this.#next++), 20);
    out.writeUInt32LE(plainLength, 28);
    out.writeUInt32LE(storedLength, 32);
  }
}

/** The plaintext of a whole frame. Throws TM1206 (malformed) or TM1601 (altered, or of another key or domain). */
export function openFrame(bytes: Buffer, domainId: string, key: Buffer): Buffer {
  const { codec, plainLength, storedLength } = parseFrameHeader(bytes);
  if (bytes.length !== FRAME_HEADER_BYTES + storedLength + FRAME_TAG_BYTES)
    throw new TmError('TM1206', 'a frame of another length');
  const header = bytes.subarray(0, FRAME_HEADER_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(header));
  decipher.setAAD(Buffer.concat([CONTEXT, uuidBytes(domainId), header]));
  decipher.setAuthTag(bytes.subarray(FRAME_HEADER_BYTES + storedLength));
  let body: Buffer;
  try {
    body = decipher.update(bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + storedLength));
    decipher.final();
    if (codec === CODEC.zstd) body = zstdDecompressSync(body, { maxOutputLength: plainLength });
  } catch (error) {
    throw new TmError('TM1601', 'a frame does not open', { cause: error });
  }
  if (body.length !== plainLength) throw new TmError('TM1601', 'a frame of another length than it says');
  return body;
}
