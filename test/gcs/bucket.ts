import { createHash } from 'node:crypto';
import { crc32cText } from '../../libs/store/gcs/crc32c.ts';

export interface Stored {
  readonly name: string;
  readonly bytes: Buffer;
  readonly generation: number;
  readonly crc32c: string;
}

/** A refusal of the API. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Objects of a bucket, with generations and the preconditions on them. */
export class Bucket {
  readonly name: string;
  readonly #objects = new Map<string, Stored>();
  /** Names in byte order; undefined: to be sorted. They are ASCII here. */
  #names: string[] | undefined;
  #generation = 1_700_000_000_000_000;

  constructor(name: string) {
    this.name = name;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** 412 where a precondition does not hold; 400 where the bytes are not those of `crc32c`. */
  put(name: string, bytes: Buffer, crc32c: string | undefined, query: URLSearchParams): Stored {
    checkPreconditions(this.#objects.get(name), query);
    const actual = crc32cText([bytes]);
    if (crc32c !== undefined && crc32c !== actual)
      throw new ApiError(400, `Provided CRC32C "${crc32c}" doesn't match calculated CRC32C "${actual}".`);
    const stored = { name, bytes, generation: ++this.#generation, crc32c: actual };
    if (!this.#objects.has(name)) this.#names = undefined;
    this.#objects.set(name, stored);
    return stored;
  }

  /** Also with bytes that are not what they were: the disk's fault, not the way's. */
  damage(name: string, change: (bytes: Buffer) => Buffer): void {
    const stored = this.find(name);
    this.#objects.set(name, { ...stored, bytes: change(Buffer.from(stored.bytes)) });
  }

  has = (name: string): boolean => this.#objects.has(name);

  /** 404 where it is not, or not of that generation; 412, 304 by preconditions. */
  find(name: string, query = new URLSearchParams()): Stored {
    const stored = this.#objects.get(name);
    const wanted = query.get('generation');
    if (!stored || (wanted !== null && wanted !== String(stored.generation)))
      throw new ApiError(404, `No such object: ${this.name}/${name}`);
    checkPreconditions(stored, query);
    return stored;
  }

  remove(name: string, query = new URLSearchParams()): void {
    this.find(name, query);
    this.#objects.delete(name);
    this.#names = undefined;
  }

  list(query: URLSearchParams): { items: Stored[]; nextPageToken?: string } {
    this.#names ??= [...this.#objects.keys()].sort();
    const prefix = query.get('prefix') ?? '';
    const token = query.get('pageToken');
    const after = token === null ? '' : Buffer.from(token, 'base64').toString();
    const start = query.get('startOffset') ?? '';
    const limit = Math.min(Number(query.get('maxResults') ?? 1000), 1000);
    const items: Stored[] = [];
    for (const name of this.#names) {
      if (!name.startsWith(prefix) || name < start || name <= after) continue;
      if (items.length === limit) {
        const nextPageToken = Buffer.from(items.at(-1)!.name).toString('base64');
        return { items, nextPageToken };
      }
      items.push(this.#objects.get(name)!);
    }
    return { items };
  }
}

/** Objects here are never updated, so each has metageneration 1. */
function checkPreconditions(there: Stored | undefined, query: URLSearchParams): void {
  const generation = there?.generation ?? 0;
  const holds = (name: string, check: (value: number) => boolean): void => {
    const value = query.get(name);
    if (value !== null && !check(Number(value)))
      throw new ApiError(412, 'At least one of the pre-conditions you specified did not hold.');
  };
  holds('ifGenerationMatch', (value) => value === generation);
  holds('ifGenerationNotMatch', (value) => value !== generation);
  holds('ifMetagenerationMatch', (value) => there !== undefined && value === 1);
  holds('ifMetagenerationNotMatch', (value) => there === undefined || value !== 1);
}

export function metadataOf(bucket: string, { name, bytes, generation, crc32c }: Stored): object {
  return {
    kind: 'storage#object',
    bucket,
    name,
    size: String(bytes.length),
    generation: String(generation),
    metageneration: '1',
    contentType: 'application/octet-stream',
    crc32c,
  };
}

const md5s = new WeakMap<Buffer, string>();

/** Computed once for each object: ranges of a pack are read by the hundred. */
export function md5Of(bytes: Buffer): string {
  const known = md5s.get(bytes) ?? createHash('md5').update(bytes).digest('base64');
  md5s.set(bytes, known);
  return known;
}
