import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type Bucket, Storage } from '@google-cloud/storage';
import { TmError } from '../../model/errors.ts';
import { type GcsAction, toCredentialsError, toNetworkError } from './gcs-errors.ts';
import { exchange, type HttpReply } from './http-exchange.ts';

/** Milliseconds. A call may take `call` and what its bytes take at `slowest` bytes a millisecond. */
export interface GcsDeadlines {
  /** Without any byte moving. */
  readonly idle: number;
  readonly call: number;
  readonly slowest: number;
  /** After `interrupt`, for what is under way or comes later. */
  readonly interrupted: number;
}

const DEADLINES: GcsDeadlines = { idle: 30_000, call: 60_000, slowest: 64, interrupted: 5_000 };
/** Connections at once; more calls wait for one. */
const MAX_SOCKETS = 64;
/** Idle connections are closed before the server does it, in milliseconds. */
const KEEP_ALIVE = 50_000;
/** Metadata, pages of lists and errors are shorter. */
const MAX_JSON_BYTES = 8 * 1024 * 1024;

export interface GcsClientOptions {
  /** An emulator's address, which needs no credentials; undefined: Google's. */
  readonly endpoint?: string | undefined;
  readonly deadlines?: Partial<GcsDeadlines>;
  /** Somebody wants the process to end: calls get little time from then on. */
  readonly interrupt?: AbortSignal | undefined;
  /** Where HTTP_PROXY, HTTPS_PROXY and NO_PROXY are looked up. Default: the environment, without an `endpoint`. */
  readonly proxyEnv?: Readonly<Record<string, string | undefined>> | undefined;
}

export interface GcsCall {
  readonly action: GcsAction;
  /** For messages. */
  readonly what: string;
  readonly method?: 'GET' | 'POST' | 'DELETE';
  /** Name of the object; undefined: the bucket itself. */
  readonly object?: string;
  /** Below the bucket, or a whole URL. */
  readonly uri?: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: readonly Uint8Array[];
  /** Longest reply in bytes, where it is no JSON. */
  readonly maxBytes?: number;
}

type ClientRequestOptions = Parameters<Bucket['request']>[0];
type TransportCallback = (error: unknown, reply?: HttpReply) => void;
/** Where a call travels in the client's own request options. */
const CALL = Symbol('call');

/**
 * Google's client with a transport of ours: it builds URLs and headers and knows credentials. What it lacks is done
 * here (4 things, each with a test in test/gcs): deadlines, an end to requests that hang, connections that one broken
 * download does not close for all, and retries that no other call can switch on.
 */
export class GcsClient {
  readonly #storage: Storage;
  readonly #bucket: Bucket;
  readonly #agent: HttpAgent;
  readonly #hasCredentials: boolean;
  readonly #deadlines: GcsDeadlines;
  readonly #interrupted: AbortSignal;

  constructor(bucket: string, { endpoint, deadlines, interrupt, proxyEnv }: GcsClientOptions) {
    if (process.env.STORAGE_EMULATOR_HOST)
      throw new TmError('TM1002', 'STORAGE_EMULATOR_HOST is set: use TIDEMARK_GCS_ENDPOINT and unset it');
    this.#deadlines = { ...DEADLINES, ...deadlines };
    this.#interrupted = later(interrupt, this.#deadlines.interrupted);
    this.#hasCredentials = endpoint === undefined;
    const apiEndpoint = endpoint?.replace(/\/+$/, '');
    this.#storage = new Storage({
      retryOptions: { autoRetry: false },
      ...(apiEndpoint === undefined ? {} : { apiEndpoint }),
    });
    const Agent = apiEndpoint?.startsWith('http:') ? HttpAgent : HttpsAgent;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: MAX_SOCKETS,
      timeout: Math.min(KEEP_ALIVE, this.#deadlines.idle),
      proxyEnv: { ...(proxyEnv ?? (endpoint === undefined ? process.env : {})) },
    });
    this.#bucket = this.#storage.bucket(bucket);
    type Transport = Storage['makeAuthenticatedRequest'];
    const transport = ((options: ClientRequestOptions, done: TransportCallback): void => {
      this.#send(options).then((reply) => done(null, reply), done);
    }) as Transport;
    this.#storage.makeAuthenticatedRequest = Object.assign(transport, this.#storage.makeAuthenticatedRequest);
  }

  /** Where objects are sent to. */
  get uploadUrl(): string {
    return `${this.#storage.apiEndpoint}/upload/storage/v1/b/${this.#bucket.name}/o`;
  }

  /** The reply, of whatever status. Throws TM1201 where there is none, TM1214 without credentials. */
  call(call: GcsCall): Promise<HttpReply> {
    const target = call.object === undefined ? this.#bucket : this.#bucket.file(call.object);
    const options = {
      uri: call.uri ?? '',
      method: call.method ?? 'GET',
      headers: call.headers,
      [CALL]: call,
    };
    return new Promise((resolve, reject) => {
      target.request(options as unknown as ClientRequestOptions, (error, reply) =>
        error ? reject(error) : resolve(reply as unknown as HttpReply),
      );
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(options: ClientRequestOptions): Promise<HttpReply> {
    const { [CALL]: call } = options as unknown as { [CALL]: GcsCall };
    const { idle, call: base, slowest } = this.#deadlines;
    const sent = call.body?.reduce((sum, part) => sum + part.length, 0) ?? 0;
    const deadline = base + Math.ceil(((call.maxBytes ?? 0) + sent) / slowest);
    const signal = AbortSignal.any([AbortSignal.timeout(deadline), this.#interrupted]);
    try {
      const url = urlOf(options.uri, call.query);
      const headers = { ...plainHeaders(options.headers), ...(await this.#authorization(url, signal)) };
      const { method = 'GET', body, maxBytes = 0 } = call;
      const longest = Math.max(MAX_JSON_BYTES, maxBytes);
      return await exchange({
        url,
        method,
        headers,
        body,
        agent: this.#agent,
        signal,
        idle,
        maxBytes: longest,
      });
    } catch (error) {
      throw toNetworkError(call.what, error, Math.round(deadline / 1000));
    }
  }

  async #authorization(url: string, signal: AbortSignal): Promise<Record<string, string>> {
    if (!this.#hasCredentials) return {};
    const token = this.#storage.authClient.getRequestHeaders(url).catch((error) => {
      throw toCredentialsError(error);
    });
    return plainHeaders(await unlessAborted(token, signal));
  }
}

function urlOf(uri: unknown, query: GcsCall['query'] = {}): string {
  const url = new URL(String(uri));
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

function plainHeaders(headers: unknown): Record<string, string> {
  if (headers instanceof Headers) return Object.fromEntries(headers.entries());
  return { ...(headers as Record<string, string> | undefined) };
}

/** Aborted some milliseconds after `signal` is. */
function later(signal: AbortSignal | undefined, milliseconds: number): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => controller.abort(new TmError('TM1508'));
  const begin = (): void => void setTimeout(abort, milliseconds).unref();
  if (signal?.aborted) begin();
  else signal?.addEventListener('abort', begin, { once: true });
  return controller.signal;
}

/** Ends a wait that nothing else ends. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
