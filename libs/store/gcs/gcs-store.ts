import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { TmError } from '../../model/errors.ts';
import { checkObjectName, isObjectName } from '../object-name.ts';
import { checkRange } from '../object-range.ts';
import type { CollectableStore, ObjectInfo } from '../port.ts';
import { crc32cText } from './crc32c.ts';
import { GcsClient, type GcsClientOptions } from './gcs-client.ts';
import { messageOf, toGcsError } from './gcs-errors.ts';
import { formatGcsUrl, type GcsPlace, parseGcsUrl } from './gcs-url.ts';
import type { HttpReply } from './http-exchange.ts';

/** No object of the format is longer (docs/3-formats-store.md). */
const MAX_OBJECT_BYTES = 64 * 1024 * 1024;
const PAGE = 1000;

const size = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number);
const Metadata = z.object({ size, crc32c: z.string(), md5Hash: z.string().optional() });
type Metadata = z.infer<typeof Metadata>;
const Page = z.object({
  items: z.array(z.object({ name: z.string(), size })).default([]),
  nextPageToken: z.string().optional(),
});

/**
 * A place in a bucket, which must exist: it is never made. Nothing is asked of the bucket before the first call.
 * Throws TM1002 for a URL that names no place.
 */
export function openGcsStore(url: string, options: GcsClientOptions = {}): CollectableStore {
  const place = parseGcsUrl(url);
  return new GcsStore(place, new GcsClient(place.bucket, options));
}

class GcsStore implements CollectableStore {
  readonly url: string;
  readonly #place: GcsPlace;
  readonly #client: GcsClient;
  /** Something was found in the bucket: it is not the bucket that is missing. */
  #isThere = false;

  constructor(place: GcsPlace, client: GcsClient) {
    this.url = formatGcsUrl(place);
    this.#place = place;
    this.#client = client;
  }

  async create(name: string, parts: readonly Uint8Array[]): Promise<'created' | 'existed'> {
    checkObjectName(name);
    const crc32c = crc32cText(parts);
    const { headers, body } = multipart({ crc32c }, parts);
    const reply = await this.#client.call({
      action: 'create',
      what: name,
      method: 'POST',
      uri: this.#client.uploadUrl,
      query: {
        uploadType: 'multipart',
        name: this.#object(name),
        ifGenerationMatch: '0',
        fields: 'size,crc32c',
      },
      headers,
      body,
    });
    // Who may not delete is answered 403 instead of 412 where the object is there.
    if (reply.status === 412 || reply.status === 403) return this.#settle(name, parts, crc32c, reply);
    if (reply.status === 404) throw this.#noBucket(reply);
    if (reply.status !== 200) throw toGcsError('create', name, reply);
    const stored = parsed(Metadata, name, reply);
    if (!isSame(stored, parts, crc32c)) throw new TmError('TM1211', `${name} was not stored as it was sent`);
    return 'created';
  }

  /** Whose bytes are there: an own attempt's whose reply was lost, or others. */
  async #settle(
    name: string,
    parts: readonly Uint8Array[],
    crc32c: string,
    refusal: HttpReply,
  ): Promise<'existed'> {
    const there = await this.#metadata(name);
    if (there && isSame(there, parts, crc32c)) return 'existed';
    if (there) throw new TmError('TM1210', name);
    if (refusal.status === 403) throw toGcsError('create', name, refusal);
    throw new TmError('TM1211', `${name} was there and is gone`);
  }

  async read(name: string, range?: { offset: number; length: number }): Promise<Buffer> {
    checkObjectName(name);
    if (range === undefined) return this.#readWhole(name);
    const end = range.offset + range.length;
    const isPlain = Number.isSafeInteger(range.offset) && Number.isSafeInteger(end) && range.offset >= 0;
    if (isPlain && range.length > 0 && range.length <= MAX_OBJECT_BYTES) return this.#readRange(name, range);
    const info = await this.#metadata(name);
    if (info === undefined) throw new TmError('TM1205', name);
    checkRange(name, info.size, range);
    if (range.length > 0)
      throw new TmError('TM1206', `${name} has ${info.size} bytes, too many for an object`);
    return Buffer.alloc(0);
  }

  /** Wrong bytes may be the way's fault once; the same ones twice are the store's. */
  async #readWhole(name: string): Promise<Buffer> {
    const first = await this.#get(name, MAX_OBJECT_BYTES);
    if (isWhole(first)) return first.body;
    const second = await this.#get(name, MAX_OBJECT_BYTES);
    if (isWhole(second)) return second.body;
    const isDamage = second.body.equals(first.body);
    throw new TmError(isDamage ? 'TM1206' : 'TM1211', `${name} does not match its checksum`);
  }

  async #readRange(name: string, { offset, length }: { offset: number; length: number }): Promise<Buffer> {
    const reply = await this.#get(name, length, `bytes=${offset}-${offset + length - 1}`);
    const [, from, total] =
      /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(reply.headers['content-range'] ?? '') ?? [];
    if (total !== undefined) checkRange(name, Number(total), { offset, length });
    if (reply.status === 416) throw new TmError('TM1206', `${name} has no ${length} bytes from ${offset}`);
    if (reply.status === 206 && Number(from) === offset && reply.body.length === length) return reply.body;
    const got = `${reply.body.length} bytes from ${from ?? 'nowhere'} (status ${reply.status})`;
    throw new TmError('TM1211', `${name}: ${length} bytes from ${offset} were asked for, ${got} came`);
  }

  /** Status 200, 206 or 416. */
  async #get(name: string, maxBytes: number, range?: string): Promise<HttpReply> {
    const reply = await this.#client.call({
      action: 'read',
      what: name,
      object: this.#object(name),
      query: { alt: 'media' },
      maxBytes,
      ...(range === undefined ? {} : { headers: { Range: range } }),
    });
    if (reply.status === 404) {
      await this.#checkBucket();
      throw new TmError('TM1205', name);
    }
    if (reply.status !== 200 && reply.status !== 206 && reply.status !== 416)
      throw toGcsError('read', name, reply);
    return reply;
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    checkObjectName(name);
    const info = await this.#metadata(name);
    return info && { name, size: info.size };
  }

  async #metadata(name: string): Promise<Metadata | undefined> {
    const reply = await this.#client.call({
      action: 'read',
      what: name,
      object: this.#object(name),
      query: { fields: 'size,crc32c,md5Hash' },
    });
    if (reply.status === 404) {
      if (!this.#isThere) await this.#checkBucket();
      return undefined;
    }
    if (reply.status !== 200) throw toGcsError('read', name, reply);
    this.#isThere = true;
    return parsed(Metadata, name, reply);
  }

  async *list(prefix: string, after = ''): AsyncGenerator<ObjectInfo> {
    let pageToken: string | undefined;
    do {
      const page = await this.#page(prefix, after, PAGE, pageToken);
      for (const item of page.items) {
        const name = item.name.slice(this.#place.prefix.length);
        if (name > after && isObjectName(name)) yield { name, size: item.size };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  }

  async #page(
    prefix: string,
    after: string,
    count: number,
    pageToken?: string,
  ): Promise<z.infer<typeof Page>> {
    const what = `listing ${prefix}`;
    const reply = await this.#client.call({
      action: 'list',
      what,
      uri: '/o',
      query: {
        prefix: this.#object(prefix) || undefined,
        startOffset: after === '' ? undefined : this.#object(after),
        maxResults: String(count),
        fields: 'items(name,size),nextPageToken',
        pageToken,
      },
    });
    if (reply.status === 404) throw this.#noBucket(reply);
    if (reply.status !== 200) throw toGcsError('list', what, reply);
    this.#isThere = true;
    return parsed(Page, what, reply);
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name);
    const reply = await this.#client.call({
      action: 'delete',
      what: name,
      method: 'DELETE',
      object: this.#object(name),
    });
    if (reply.status === 404) return this.#isThere ? undefined : this.#checkBucket();
    if (reply.status !== 204 && reply.status !== 200) throw toGcsError('delete', name, reply);
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  #object(name: string): string {
    return this.#place.prefix + name;
  }

  /** A missing object and a missing bucket are both 404; only a listing tells them apart. */
  async #checkBucket(): Promise<void> {
    await this.#page('', '', 1);
  }

  #noBucket(reply: HttpReply): TmError {
    const { bucket } = this.#place;
    const what = `the bucket ${bucket} does not exist (${messageOf(reply)}); Tidemark makes none: create it first`;
    return new TmError('TM1202', what);
  }
}

/** Metadata and bytes as one body, the bytes uncopied. */
function multipart(
  metadata: object,
  parts: readonly Uint8Array[],
): { headers: Record<string, string>; body: Uint8Array[] } {
  const boundary = `tidemark-${randomUUID()}`;
  const type = 'application/octet-stream';
  const head =
    `--${boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n` +
    `${JSON.stringify({ ...metadata, contentType: type })}\r\n--${boundary}\r\nContent-Type: ${type}\r\n\r\n`;
  return {
    headers: { 'Content-Type': `multipart/related; boundary=${boundary}` },
    body: [Buffer.from(head), ...parts, Buffer.from(`\r\n--${boundary}--\r\n`)],
  };
}

function isSame(there: Metadata, parts: readonly Uint8Array[], crc32c: string): boolean {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (there.size !== bytes || there.crc32c !== crc32c) return false;
  return there.md5Hash === undefined || there.md5Hash === md5(parts);
}

/** No secret hangs on it: it makes an accident of equal CRCs between two registries' claims impossible. */
function md5(parts: readonly Uint8Array[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('base64');
}

function isWhole({ status, headers, body }: HttpReply): boolean {
  const given = [headers['x-goog-hash'] ?? []].flat().join(',');
  const [, crc32c] = /(?:^|,)\s*crc32c=([A-Za-z0-9+/]{6}==)/.exec(given) ?? [];
  return status === 200 && crc32c === crc32cText([body]);
}

function parsed<T>(schema: z.ZodType<T>, what: string, { body }: HttpReply): T {
  try {
    return schema.parse(JSON.parse(body.toString('utf8')));
  } catch (cause) {
    throw new TmError('TM1211', `${what}: the reply is not what the API promises`, { cause });
  }
}
