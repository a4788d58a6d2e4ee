import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { ApiError, Bucket, md5Of, metadataOf, type Stored } from './bucket.ts';
import { FaultScript, type GcsAim, type GcsFault, type Operation } from './faults.ts';
import { parseUpload, type Upload } from './parse-upload.ts';

export type Right = 'create' | 'get' | 'list' | 'delete';

export interface ScriptedGcsOptions {
  /** Names of the buckets that exist. */
  readonly buckets: readonly string[];
  /** Milliseconds from a request's arrival to the first byte of its reply, at least. Default 0. */
  readonly latency?: number;
}

/** A request as it was understood: `name` of the object, prefix of a listing. */
interface Call {
  readonly operation: Operation;
  readonly bucket: string;
  readonly name: string;
  readonly query: URLSearchParams;
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/**
 * What Tidemark needs of Google Cloud Storage's JSON API, on a random loopback port: uploads (multipart and media),
 * content with ranges, metadata, pages of lists, deletion; generations, preconditions on all of them, CRC32C checks,
 * rights, and faults as a test scripts them. Many requests are served at once. Objects lie in memory.
 */
export class ScriptedGcs {
  readonly #server: Server;
  readonly #buckets = new Map<string, Bucket>();
  readonly #faults = new FaultScript();
  /** Milliseconds; see the options. */
  latency: number;
  /** What the caller may do. */
  rights = new Set<Right>(['create', 'get', 'list', 'delete']);
  readonly #calls = new Map<Operation, number>();
  /** Bytes of objects that went out and came in. */
  readonly traffic = { read: 0, written: 0 };
  #roundTrips = 0;
  #inFlight = 0;
  #peak = 0;
  readonly #uploads = { now: 0, peak: 0 };

  private constructor({ buckets, latency = 0 }: ScriptedGcsOptions) {
    for (const name of buckets) this.#buckets.set(name, new Bucket(name));
    this.latency = latency;
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.requestTimeout = 0;
    this.#server.keepAliveTimeout = 120_000;
  }

  static async start(options: ScriptedGcsOptions): Promise<ScriptedGcs> {
    const gcs = new ScriptedGcs(options);
    const { promise, resolve } = Promise.withResolvers<void>();
    gcs.#server.listen(0, '127.0.0.1', resolve);
    await promise;
    return gcs;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (!bucket) throw new ApiError(404, 'The specified bucket does not exist.');
    return bucket;
  }

  dropBucket(name: string): void {
    this.#buckets.delete(name);
  }

  inject(fault: GcsFault, aim: GcsAim): this {
    this.#faults.add(fault, aim);
    return this;
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Requests that faults have hit. */
  get hits(): number {
    return this.#faults.hits;
  }

  calls(operation: Operation): number {
    return this.#calls.get(operation) ?? 0;
  }

  /** Most requests that were in flight at the same time. */
  get peak(): number {
    return this.#peak;
  }

  /** Most uploads that were in flight at the same time. */
  get peakUploads(): number {
    return this.#uploads.peak;
  }

  /** Requests that began while no other was in flight: what a caller waits for one after the other. */
  get roundTrips(): number {
    return this.#roundTrips;
  }

  /** Begins to count anew. */
  resetCounts(): void {
    this.#calls.clear();
    this.#peak = this.#inFlight;
    this.#roundTrips = 0;
    this.#uploads.peak = this.#uploads.now;
    Object.assign(this.traffic, { read: 0, written: 0 });
  }

  /** Cuts what is open. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#inFlight === 0) this.#roundTrips++;
    this.#peak = Math.max(this.#peak, ++this.#inFlight);
    response.once('close', () => this.#inFlight--);
    request.on('error', () => {}); // the client has gone: nobody is left to tell
    response.on('error', () => {});
    try {
      await this.#answer(request, response);
    } catch (error) {
      if (request.destroyed && !request.complete) return;
      const status = error instanceof ApiError ? error.status : 500;
      const message = error instanceof Error ? error.message : String(error);
      send(response, json(status, { error: { code: status, message } }));
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = understand(request);
    this.#calls.set(call.operation, this.calls(call.operation) + 1);
    if (call.operation === 'upload') this.#countUpload(response);
    const fault = this.#faults.next(call.operation, call.name);
    if (fault?.kind === 'stall' && fault.at === 'request') return void request.pause();
    const [body] = await Promise.all([readBody(request), this.latency > 0 && setTimeout(this.latency)]);
    if (fault?.kind === 'stall' && fault.at === 'headers') return;
    if (fault?.kind === 'cut' && fault.at === 'headers') return void request.socket.destroy();
    if (fault?.kind === 'status') return refuse(response, fault);
    const answer = this.#apply(call, request, body, fault?.kind === 'flip-bit-sent');
    if (call.operation === 'upload') this.traffic.written += body.length;
    if (call.operation === 'read') this.traffic.read += answer.body.length;
    if (fault?.kind === 'lose-reply') return void request.socket.destroy();
    send(response, answer, fault);
  }

  #countUpload(response: ServerResponse): void {
    const uploads = this.#uploads;
    uploads.peak = Math.max(uploads.peak, ++uploads.now);
    response.once('close', () => uploads.now--);
  }

  #apply(call: Call, request: IncomingMessage, body: Buffer, isAltered: boolean): Answer {
    const bucket = this.bucket(call.bucket);
    switch (call.operation) {
      case 'upload':
        return this.#upload(bucket, call, parseUpload(request.headers, call.query, body), isAltered);
      case 'read':
        this.#demand('get');
        return content(bucket.find(call.name, call.query), request.headers.range);
      case 'stat':
        this.#demand('get');
        return json(200, described(bucket, bucket.find(call.name, call.query)));
      case 'list': {
        this.#demand('list');
        const { items, nextPageToken } = bucket.list(call.query);
        return json(200, { items: items.map((one) => metadataOf(bucket.name, one)), nextPageToken });
      }
      case 'delete':
        this.#demand('delete');
        bucket.remove(call.name, call.query);
        return { status: 204, headers: {}, body: Buffer.alloc(0) };
    }
  }

  /** Who may not delete may not replace either, and is told that before any precondition. */
  #upload(bucket: Bucket, { name, query }: Call, upload: Upload, isAltered: boolean): Answer {
    this.#demand('create');
    const object = upload.name ?? name;
    const bytes = isAltered ? flipped(upload.bytes) : upload.bytes;
    if (bucket.has(object)) this.#demand('delete');
    return json(200, described(bucket, bucket.put(object, bytes, upload.crc32c, query)));
  }

  #demand(right: Right): void {
    if (this.rights.has(right)) return;
    throw new ApiError(403, `Caller does not have storage.objects.${right} access to the object.`);
  }
}

const described = (bucket: Bucket, stored: Stored): object => ({
  ...metadataOf(bucket.name, stored),
  md5Hash: md5Of(stored.bytes),
});

function understand({ method, url = '', headers }: IncomingMessage): Call {
  const { pathname, searchParams: query } = new URL(url, `http://${headers.host}`);
  const [, upload, bucket, object] =
    /^(?:\/(upload|download))?\/storage\/v1\/b\/([^/]+)\/o(?:\/(.+))?$/.exec(pathname) ?? [];
  const on = (operation: Operation, name: string): Call => ({ operation, bucket: bucket!, name, query });
  if (bucket !== undefined && object === undefined) {
    if (method === 'POST' && upload === 'upload') return on('upload', query.get('name') ?? '');
    if (method === 'GET') return on('list', query.get('prefix') ?? '');
  } else if (bucket !== undefined && object !== undefined) {
    const name = decodeURIComponent(object);
    if (method === 'GET') return on(query.get('alt') === 'media' ? 'read' : 'stat', name);
    if (method === 'DELETE') return on('delete', name);
  }
  throw new ApiError(404, `${method} ${pathname} is not scripted`);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function content({ bytes, generation, crc32c }: Stored, range: string | undefined): Answer {
  const headers = {
    'Content-Type': 'application/octet-stream',
    'X-Goog-Generation': String(generation),
    'X-Goog-Hash': `crc32c=${crc32c},md5=${md5Of(bytes)}`,
  };
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
  if (from === undefined) return { status: 200, headers, body: bytes };
  const start = Number(from);
  if (start >= bytes.length) {
    const body = Buffer.from('Requested range not satisfiable');
    return { status: 416, headers: { 'Content-Range': `bytes */${bytes.length}` }, body };
  }
  const end = Math.min(to ? Number(to) : Number.POSITIVE_INFINITY, bytes.length - 1);
  const contentRange = `bytes ${start}-${end}/${bytes.length}`;
  return {
    status: 206,
    headers: { ...headers, 'Content-Range': contentRange },
    body: bytes.subarray(start, end + 1),
  };
}

function json(status: number, value: unknown): Answer {
  const headers = { 'Content-Type': 'application/json; charset=UTF-8' };
  return { status, headers, body: Buffer.from(JSON.stringify(value)) };
}

function refuse(response: ServerResponse, fault: GcsFault & { kind: 'status' }): void {
  const { status, retryAfter, message = 'a fault of the test' } = fault;
  const answer = json(status, { error: { code: status, message } });
  send(response, retryAfter === undefined ? answer : withHeader(answer, 'Retry-After', String(retryAfter)));
}

const withHeader = (answer: Answer, name: string, value: string): Answer => ({
  ...answer,
  headers: { ...answer.headers, [name]: value },
});

function send(response: ServerResponse, { status, headers, body }: Answer, fault?: GcsFault): void {
  const half = body.subarray(0, body.length >> 1);
  const sent = fault?.kind === 'flip-bit' ? flipped(body) : fault?.kind === 'truncate' ? half : body;
  response.writeHead(status, status === 204 ? headers : { ...headers, 'Content-Length': sent.length });
  if (fault?.kind === 'stall') response.write(half);
  else if (fault?.kind === 'cut') response.write(half, () => response.socket?.destroy());
  else response.end(sent);
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
}
