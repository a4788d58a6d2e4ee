import { type Compressor, openCompressor } from '../codec/compressor.ts';
import { decompress } from '../codec/decompressor.ts';
import { GCM_TAG_BYTES, type GcmCipher, openGcm } from '../codec/gcm.ts';
import { gcmDecrypt } from '../codec/gcm-decrypt.ts';
import type { Compression } from '../model/compression.ts';
import { blake3 } from '../model/digests.ts';
import { TmError } from '../model/errors.ts';
import { encodeFrameBlocks } from './frame-blocks.ts';
import type { FrameBlock, SealedFrame } from './intake.ts';

/**
 * A frame in a pack: 48 bytes of header in the clear, the ciphertext, 16 bytes of tag. Header, little-endian: magic
 * "TF", u8 version, u8 codec (0 raw, 1 zstd), 16 bytes id of the data key, u64 frame number, u32 length of the
 * plaintext, u32 length of the ciphertext, 12 zero bytes. AES-256-GCM; nonce: 4 zero bytes and the frame number;
 * associated data: "tidemark frame", the domain's UUID (16 bytes), the header.
 */
const FRAME_HEADER_BYTES = 48;
const FRAME_TAG_BYTES = GCM_TAG_BYTES;
export const FRAME_CHECKSUM_BYTES = 16;
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

/** A block that is to be sealed. */
export type PlainBlock = FrameBlock & { readonly bytes: Buffer };

/** How frames are compressed and encrypted; the same frames open whatever does it. */
export interface FrameCodecs {
  readonly compressor: Compressor;
  readonly cipher: GcmCipher;
}

/** Frames that are compressed on other threads at once; what more there is to do the thread does itself. */
const MAX_ASIDE = 4;

/** Compresses and encrypts frames under one data key, with frame numbers of its own range; one per thread. */
export class FrameSealer {
  readonly #keyId: Buffer;
  readonly #codecs: FrameCodecs;
  /** Associated data: context, domain and the present frame's header. */
  readonly #aad: Buffer;
  readonly #header: Buffer;
  readonly #end: number;
  #next: number;
  /** Memory for a frame being made that is not in use. */
  readonly #rooms: Room[] = [];
  #aside = 0;
  #allBack: (() => void) | undefined;

  constructor(options: {
    domainId: string;
    keyId: Buffer;
    key: Buffer;
    firstFrameNo: number;
    endFrameNo: number;
    compression?: Compression | undefined;
    codecs?: FrameCodecs;
  }) {
    this.#keyId = options.keyId;
    this.#codecs = options.codecs ?? {
      compressor: openCompressor(options.compression ?? 'fast'),
      cipher: openGcm(options.key),
    };
    const context = Buffer.concat([CONTEXT, uuidBytes(options.domainId)]);
    this.#aad = Buffer.concat([context, Buffer.alloc(FRAME_HEADER_BYTES)]);
    this.#header = this.#aad.subarray(context.length);
    this.#next = options.firstFrameNo;
    this.#end = options.endFrameNo;
  }

  /** The blocks' bytes are read at once; the frame's bytes are a buffer of its own that may be transferred. */
  seal(blocks: readonly PlainBlock[]): SealedFrame {
    const room = this.#rooms.pop() ?? new Room();
    try {
      const plain = room.plaintext(blocks);
      const packed = this.#codecs.compressor.compress(plain, room.forPacked(plain));
      return this.#finish(blocks, room, plain, packed);
    } finally {
      this.#rooms.push(room);
    }
  }

  /** As `seal`, and mostly on another thread: the blocks' bytes have to stay as they are until it resolves. */
  async sealAside(blocks: readonly PlainBlock[]): Promise<SealedFrame> {
    if (this.#aside >= MAX_ASIDE) return this.seal(blocks);
    const room = this.#rooms.pop() ?? new Room();
    this.#aside++;
    try {
      const plain = room.plaintext(blocks);
      const packed = await this.#codecs.compressor.compressAside(plain, room.forPacked(plain));
      return this.#finish(blocks, room, plain, packed);
    } finally {
      this.#rooms.push(room);
      this.#aside--;
      if (this.#aside === 0) this.#allBack?.();
    }
  }

  /** `packed`: bytes of the compressed form in the room, 0 where the plaintext did not shrink. */
  #finish(blocks: readonly PlainBlock[], room: Room, plain: Buffer, packed: number): SealedFrame {
    if (this.#next >= this.#end) throw new TmError('TM1099', 'the frame numbers of this key are used up');
    const frame = room.frame;
    if (packed === 0) frame.set(plain, FRAME_HEADER_BYTES);
    const stored = packed || plain.length;
    this.#writeHeader(packed === 0 ? CODEC.raw : CODEC.zstd, plain.length, stored);
    this.#header.copy(frame);
    const end = FRAME_HEADER_BYTES + stored + FRAME_TAG_BYTES;
    const tag = frame.subarray(end - FRAME_TAG_BYTES, end);
    const body = frame.subarray(FRAME_HEADER_BYTES, end - FRAME_TAG_BYTES);
    this.#codecs.cipher.encrypt(nonceOf(this.#header), this.#aad, body, tag);
    const bytes = Buffer.allocUnsafeSlow(end);
    frame.copy(bytes);
    return {
      bytes,
      checksum: Buffer.from(new Uint8Array(blake3(bytes).subarray(0, FRAME_CHECKSUM_BYTES)).buffer),
      plainLength: plain.length,
      keyId: this.#keyId,
      index: encodeFrameBlocks(blocks),
    };
  }

  #writeHeader(codec: number, plainLength: number, storedLength: number): void {
    const out = this.#header;
    out.writeUInt16LE(MAGIC, 0);
    out[2] = VERSION;
    out[3] = codec;
    this.#keyId.copy(out, 4);
    out.writeBigUInt64LE(BigInt(this.#next++), 20);
    out.writeUInt32LE(plainLength, 28);
    out.writeUInt32LE(storedLength, 32);
  }

  /** Frees native memory once no other thread uses it; nothing can be sealed afterwards. */
  async close(): Promise<void> {
    this.#next = this.#end;
    if (this.#aside > 0)
      await new Promise<void>((resolve) => {
        this.#allBack = resolve;
      });
    this.#codecs.compressor.close();
    this.#codecs.cipher.close();
  }
}

/** Memory in which one frame at a time is made. */
class Room {
  /** Of any length; the frame is at its beginning. */
  frame = Buffer.alloc(0);
  /** Plaintext of blocks that don't lie behind one another. */
  #gathered = Buffer.alloc(0);

  /** Where the blocks are, when they lie behind one another, else a copy. */
  plaintext(blocks: readonly PlainBlock[]): Buffer {
    const length = blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (length > MAX_FRAME_BYTES) throw new TmError('TM1099', `a frame of ${length} bytes`);
    const first = blocks[0]!.bytes;
    let end = first.byteOffset;
    const adjoin = blocks.every(({ bytes }) => {
      const follows = bytes.buffer === first.buffer && bytes.byteOffset === end;
      end += bytes.length;
      return follows;
    });
    if (adjoin) return Buffer.from(first.buffer, first.byteOffset, length);
    if (this.#gathered.length < length) this.#gathered = Buffer.from(new ArrayBuffer(length));
    let at = 0;
    for (const { bytes } of blocks) at += bytes.copy(this.#gathered, at);
    return this.#gathered.subarray(0, length);
  }

  /** Room in the frame for what is smaller than the plaintext. */
  forPacked({ length }: Buffer): Buffer {
    const most = FRAME_HEADER_BYTES + length + FRAME_TAG_BYTES;
    if (this.frame.length < most) this.frame = Buffer.from(new ArrayBuffer(most));
    return this.frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + Math.max(0, length - 1));
  }
}

/** Memory for one frame after the other, so that reading many leaves nothing to collect. */
export class PlainMemory {
  #plain = Buffer.alloc(0);
  #packed = Buffer.alloc(0);

  plain(length: number): Buffer {
    if (length > this.#plain.length) this.#plain = Buffer.allocUnsafeSlow(length);
    return this.#plain.subarray(0, length);
  }

  /** For what is to be decompressed. */
  packed(length: number): Buffer {
    if (length > this.#packed.length) this.#packed = Buffer.allocUnsafeSlow(length);
    return this.#packed.subarray(0, length);
  }
}

/**
 * The plaintext of a frame, in `memory` until that is used again; its first `wanted` bytes at least. Throws TM1206
 * (malformed) or TM1601 (altered, or of another key or domain).
 */
export function openFrame(
  bytes: Buffer,
  domainId: string,
  key: Buffer,
  memory = new PlainMemory(),
  wanted = MAX_FRAME_BYTES,
): Buffer {
  const { codec, plainLength, storedLength } = parseFrameHeader(bytes);
  const end = FRAME_HEADER_BYTES + storedLength;
  if (bytes.length !== end + FRAME_TAG_BYTES) throw new TmError('TM1206', 'a frame of another length');
  const header = bytes.subarray(0, FRAME_HEADER_BYTES);
  const sealed = {
    nonce: nonceOf(header),
    associated: Buffer.concat([CONTEXT, uuidBytes(domainId), header]),
    bytes: bytes.subarray(FRAME_HEADER_BYTES, end),
    tag: bytes.subarray(end),
  };
  const isPacked = codec === CODEC.zstd;
  const stored = isPacked ? memory.packed(storedLength) : memory.plain(storedLength);
  if (!gcmDecrypt(key, sealed, stored)) throw new TmError('TM1601', 'a frame does not open');
  const plain = isPacked ? memory.plain(plainLength) : stored;
  const length = isPacked ? decompress(stored, plain, wanted) : stored.length;
  if (length < Math.min(wanted, plainLength) || length > plainLength)
    throw new TmError('TM1601', 'a frame of another length than it says');
  return plain.subarray(0, length);
}
