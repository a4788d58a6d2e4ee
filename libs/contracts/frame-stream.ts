import { FRAME_CHECKSUM_BYTES, parseFrameHeader } from '../blocks/frame.ts';
import { decodeFrameBlocks } from '../blocks/frame-blocks.ts';
import { BlockKind, type SealedFrame } from '../blocks/intake.ts';
import { blake3 } from '../model/digests.ts';
import { MAX_RECIPE_CHILDREN } from '../model/entry.ts';
import { TmError } from '../model/errors.ts';

/**
 * Frames on their way between agent and storage writer, little-endian: "TMF1"; for each frame u32 length of its bytes,
 * u32 length of its index, u32 length of its plaintext, 16 bytes data key's id, 16 bytes checksum, index, bytes; three
 * zero u32 at the end. Checksum: the first 16 bytes of the BLAKE3 of the 28 bytes before it, the index, and the first
 * 16 bytes of the BLAKE3 of the frame's bytes (which is the checksum that its pack keeps).
 */
const MAGIC = Buffer.from('TMF1');
const LENGTHS_BYTES = 12;
const KEY_ID_BYTES = 16;
const HEAD_BYTES = LENGTHS_BYTES + KEY_ID_BYTES;
const END = Buffer.alloc(LENGTHS_BYTES);
/** Header and tag of a frame. */
const FRAME_EXTRA = 64;
const MAX_PLAIN_BYTES = 8 * 1024 * 1024;
const BLOCK_BYTES = 39;
const MIB = 1024 * 1024;
/** Of all frames of a stream together, so that they fit in a pack with its index (64 MiB) and in a reader's memory. */
const MAX_STREAM_FRAMES_BYTES = 48 * MIB;
const MAX_STREAM_INDEX_BYTES = 8 * MIB;
const MAX_FRAMES = 65_536;
/** The largest stream that is one pack. */
export const MAX_STREAM_BYTES = MAX_STREAM_FRAMES_BYTES + MAX_STREAM_INDEX_BYTES + 4 * MIB;

const malformed = (detail: string): TmError => new TmError('TM1810', detail);

/** The parts of a stream; frames and indexes are not copied. */
export function* encodeFrames(frames: Iterable<SealedFrame>): Generator<Buffer> {
  yield MAGIC;
  for (const frame of frames) yield* encodeFrame(frame);
  yield END;
}

/** As they come, for a stream whose frames are fetched one after another. */
export async function* encodeFramesOf(frames: AsyncIterable<SealedFrame>): AsyncGenerator<Buffer> {
  yield MAGIC;
  for await (const frame of frames) yield* encodeFrame(frame);
  yield END;
}

function* encodeFrame({ bytes, index, plainLength, keyId, checksum }: SealedFrame): Generator<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES + FRAME_CHECKSUM_BYTES);
  head.writeUInt32LE(bytes.length, 0);
  head.writeUInt32LE(index.length, 4);
  head.writeUInt32LE(plainLength, 8);
  keyId.copy(head, LENGTHS_BYTES);
  streamChecksum(head.subarray(0, HEAD_BYTES), index, checksum).copy(head, HEAD_BYTES);
  yield head;
  yield index;
  yield bytes;
}

const streamChecksum = (head: Buffer, index: Buffer, frameChecksum: Buffer): Buffer =>
  blake3(head, index, frameChecksum).subarray(0, FRAME_CHECKSUM_BYTES);

/** What a stream may hold in all; a stream that is no pack may be as long as a file. */
export interface StreamLimits {
  readonly framesBytes: number;
  readonly indexBytes: number;
  readonly frames: number;
}

export const PACK_LIMITS: StreamLimits = {
  framesBytes: MAX_STREAM_FRAMES_BYTES,
  indexBytes: MAX_STREAM_INDEX_BYTES,
  frames: MAX_FRAMES,
};

export const NO_LIMITS: StreamLimits = {
  framesBytes: Number.POSITIVE_INFINITY,
  indexBytes: Number.POSITIVE_INFINITY,
  frames: Number.POSITIVE_INFINITY,
};

interface Head {
  readonly bytes: number;
  readonly index: number;
  readonly plainLength: number;
}

/**
 * The frames of a stream as they come in, each whole and checked: lengths before memory is taken for them, checksum,
 * index against the plaintext's length, header against key and lengths. The domain shows only when a frame is
 * decrypted. Throws TM1810 for what is cut or anything else, and what `chunks` throws.
 */
export async function* decodeFrames(
  chunks: AsyncIterable<Buffer>,
  limits: StreamLimits = PACK_LIMITS,
): AsyncGenerator<SealedFrame> {
  const input = new ExactReader(chunks);
  if (!(await input.take(MAGIC.length)).equals(MAGIC)) throw malformed('no frame stream');
  const total = { framesBytes: 0, indexBytes: 0, frames: 0 };
  for (;;) {
    const lengths = await input.take(LENGTHS_BYTES);
    if (lengths.equals(END)) break;
    const head = checkedHead(lengths);
    total.framesBytes += head.bytes;
    total.indexBytes += head.index;
    total.frames++;
    const isOver =
      total.framesBytes > limits.framesBytes ||
      total.indexBytes > limits.indexBytes ||
      total.frames > limits.frames;
    if (isOver) throw malformed('more than fits in a pack');
    yield await readFrame(input, lengths, head);
  }
  await input.end();
}

function checkedHead(lengths: Buffer): Head {
  const [bytes, index, plainLength] = [0, 4, 8].map((at) => lengths.readUInt32LE(at)) as [
    number,
    number,
    number,
  ];
  const fits =
    plainLength > 0 &&
    plainLength <= MAX_PLAIN_BYTES &&
    bytes > FRAME_EXTRA &&
    bytes <= plainLength + FRAME_EXTRA &&
    index >= BLOCK_BYTES + 4 &&
    index <= MAX_STREAM_INDEX_BYTES;
  if (!fits) throw malformed('a length over the limits');
  return { bytes, index, plainLength };
}

async function readFrame(input: ExactReader, lengths: Buffer, head: Head): Promise<SealedFrame> {
  const keyId = await input.take(KEY_ID_BYTES);
  const stated = await input.take(FRAME_CHECKSUM_BYTES);
  const index = await input.take(head.index);
  const bytes = await input.take(head.bytes);
  const checksum = Buffer.from(blake3(bytes).subarray(0, FRAME_CHECKSUM_BYTES));
  if (!streamChecksum(Buffer.concat([lengths, keyId]), index, checksum).equals(stated))
    throw malformed('a wrong checksum');
  const frame = { bytes, checksum, plainLength: head.plainLength, keyId, index };
  checkHeader(frame);
  checkIndex(frame);
  return frame;
}

function checkHeader({ bytes, keyId, plainLength }: SealedFrame): void {
  let header: ReturnType<typeof parseFrameHeader>;
  try {
    header = parseFrameHeader(bytes);
  } catch (error) {
    throw new TmError('TM1810', 'a frame without its header', { cause: error });
  }
  const fits =
    header.keyId.equals(keyId) &&
    header.plainLength === plainLength &&
    header.storedLength + FRAME_EXTRA === bytes.length;
  if (!fits) throw malformed('a frame of another header');
}

/** Runs are the writer's own: no agent may send what a rebuild would take for one. */
function checkIndex({ index, plainLength }: SealedFrame): void {
  let blocks: ReturnType<typeof decodeFrameBlocks>;
  try {
    blocks = decodeFrameBlocks(index);
  } catch (error) {
    throw new TmError('TM1810', 'an index that is cut', { cause: error });
  }
  const encoded = blocks.reduce((sum, { children }) => sum + BLOCK_BYTES + children.length, 4);
  const plain = blocks.reduce((sum, { length }) => sum + length, 0);
  const isSound = blocks.every(
    ({ kind, children }) =>
      (kind === BlockKind.data || kind === BlockKind.holes || kind === BlockKind.recipe) &&
      (children.length === 0 || kind === BlockKind.recipe) &&
      children.length <= MAX_RECIPE_CHILDREN * 32,
  );
  if (encoded !== index.length || plain !== plainLength || !isSound)
    throw malformed('an index that does not fit its frame');
}

/** Gives exactly as many bytes as are asked for, in memory of their own. */
class ExactReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#chunk = value;
    }
    return true;
  }

  async take(length: number): Promise<Buffer> {
    const out = Buffer.from(new ArrayBuffer(length));
    for (let at = 0; at < length; ) {
      if (!(await this.#more())) throw malformed('it ends too early');
      const bytes = this.#chunk.copy(out, at);
      this.#chunk = this.#chunk.subarray(bytes);
      at += bytes;
    }
    return out;
  }

  async end(): Promise<void> {
    if (await this.#more()) throw malformed('bytes behind its end');
  }
}
