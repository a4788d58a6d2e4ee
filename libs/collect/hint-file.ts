import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/**
 * What backups that did not finish have read, one attempt behind the other; only ever appended to. A cache: a segment
 * that is damaged counts as absent, and so does all behind one whose head is. Little-endian segments:
 *
 *   head     u32 magic, u32 CRC-32 of all behind it, u32 bytes of the body, u32 kind, u32 task, u32 bytes of the ids
 *   attempt  body: identity (32), i64 ms since 1970 at which it began; the tasks that follow are its own
 *   task     body: ids of the task's blocks (32 each, of tasks with large files only), then records in the form of
 *            change events (docs/2-formats-blocks.md). The numbers of an attempt's tasks go in the order of the walk
 */
const MAGIC = 0x484d_5453;
const HEAD_BYTES = 24;
const CRC_FROM = 8;
/** A longer body was never written. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export const SegmentKind = { attempt: 1, task: 2 } as const;

/** Where a segment's body lies. */
export interface Segment {
  readonly kind: number;
  readonly task: number;
  readonly at: number;
  readonly length: number;
  readonly idsLength: number;
}

/** A segment as it stands in the file. `ids` and `records` follow each other in its body. */
export function encodeSegment(
  kind: number,
  task: number,
  ids: readonly Uint8Array[],
  records: readonly Uint8Array[],
): Buffer {
  const idsLength = lengthOf(ids);
  const length = idsLength + lengthOf(records);
  const segment = Buffer.allocUnsafe(HEAD_BYTES + length);
  [MAGIC, 0, length, kind, task, idsLength].forEach((value, i) => {
    segment.writeUInt32LE(value, i * 4);
  });
  let at = HEAD_BYTES;
  for (const part of [...ids, ...records]) {
    segment.set(part, at);
    at += part.length;
  }
  segment.writeUInt32LE(crc32(segment.subarray(CRC_FROM)), 4);
  return segment;
}

const lengthOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** The file of one source, opened for reading and appending. */
export class HintFile {
  readonly #fd: number;
  /** Length of what is whole; segments are appended there. */
  #end = 0;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** `mode`: 'r+' (must exist) or 'w+' (begins empty). Throws what the system says. */
  static open(path: string, mode: 'r+' | 'w+'): HintFile {
    return new HintFile(openSync(path, mode, 0o600));
  }

  get length(): number {
    return this.#end;
  }

  /** The segments up to the first that is cut; from now on it is appended there. */
  segments(): Segment[] {
    const { size } = fstatSync(this.#fd);
    const head = Buffer.alloc(HEAD_BYTES);
    const found: Segment[] = [];
    this.#end = 0;
    while (this.#end + HEAD_BYTES <= size) {
      readSync(this.#fd, head, 0, HEAD_BYTES, this.#end);
      const [magic, , length, kind, task, idsLength] = Array.from({ length: 6 }, (_, i) =>
        head.readUInt32LE(i * 4),
      );
      const at = this.#end + HEAD_BYTES;
      if (magic !== MAGIC || length! > MAX_BODY_BYTES || idsLength! > length! || at + length! > size) break;
      found.push({ kind: kind!, task: task!, at, length: length!, idsLength: idsLength! });
      this.#end = at + length!;
    }
    return found;
  }

  /** The segment's body; undefined where it is damaged. */
  read({ at, length }: Segment): Buffer | undefined {
    const bytes = Buffer.allocUnsafe(HEAD_BYTES + length);
    if (readSync(this.#fd, bytes, 0, bytes.length, at - HEAD_BYTES) < bytes.length) return undefined;
    return crc32(bytes.subarray(CRC_FROM)) === bytes.readUInt32LE(4) ? bytes.subarray(HEAD_BYTES) : undefined;
  }

  append(segments: readonly Buffer[]): void {
    const bytes = Buffer.concat(segments);
    let done = 0;
    while (done < bytes.length)
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#end + done);
    this.#end += bytes.length;
  }

  clear(): void {
    ftruncateSync(this.#fd, 0);
    this.#end = 0;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
