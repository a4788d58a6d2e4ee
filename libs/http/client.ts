import { Agent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { TmError } from '../model/errors.ts';
import { exchange, UnsentError } from './exchange.ts';
import { errorOf, problemSchema } from './problem.ts';
import { BINARY, type Given, type Parsed, type Route } from './route.ts';

const JSON_TYPE = 'application/json';
const BYTES_TYPE = 'application/octet-stream';
const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_MAX_REPLY = 64 * 1024 * 1024;
const MAX_PROBLEM = 64 * 1024;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5000;

export interface ClientOptions {
  /** http(s)://host:port, with a path where the server lies below one. */
  readonly server: string;
  readonly token?: string | undefined;
  /** UUID of this process; needed with an agent's token. */
  readonly instance?: string | undefined;
  /** Milliseconds after a call's begin in which it may be tried again; 0: never. */
  readonly deadline?: number;
  readonly maxSockets?: number;
  /** Of TLS: certificates that are trusted beside the system's, PEM. */
  readonly ca?: string | undefined;
  /** Clock, sleep and chance, so that tests own them. */
  readonly world?: ClientWorld;
}

export interface ClientWorld {
  readonly now: () => number;
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<unknown>;
  readonly random: () => number;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte; more than its wait for a long poll. */
  readonly timeout?: number;
  /** Bytes of the largest reply that is taken. */
  readonly maxReply?: number;
  readonly deadline?: number;
}

/** Bytes to send, not copied; a body in pieces is one body. */
type SentBytes = Buffer | readonly Buffer[];
type Input<R extends Route> = Part<'params', Given<R['params']>> &
  Part<'query', Given<R['query']>> &
  Part<'body', R['body'] extends typeof BINARY ? SentBytes : Given<R['body']>>;
type Part<N extends string, T> = [T] extends [undefined] ? unknown : { readonly [K in N]: T };
type Reply<R extends Route> = R['reply'] extends typeof BINARY ? Buffer : Parsed<R['reply']>;

/** The machine's own. */
export const REAL_WORLD: ClientWorld = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(milliseconds, undefined, signal ? { signal } : {}),
  random: Math.random,
};

/**
 * Calls routes of one server. Repeats with jitter what may succeed and do no harm when it comes twice: everything that
 * the server refused as busy, away or cut, requests that were never sent, and where the route says so those whose reply
 * was lost. Throws the server's errors with their codes, TM1805 (not reached), TM1806 (an answer of another kind).
 */
export class HttpClient {
  readonly server: string;
  readonly #options: ClientOptions;
  readonly #agent: Agent;
  readonly #world: ClientWorld;

  constructor(options: ClientOptions) {
    this.server = options.server.replace(/\/+$/, '');
    this.#options = options;
    const keep = { keepAlive: true, maxSockets: options.maxSockets ?? 16 };
    const secure = this.server.startsWith('https:');
    this.#agent = secure
      ? new HttpsAgent({ ...keep, ...(options.ca && { ca: options.ca }) })
      : new Agent(keep);
    this.#world = options.world ?? REAL_WORLD;
  }

  /** Closes connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }

  /** The reply, checked by the route's schema, or its bytes. */
  call<R extends Route>(route: R, input: Input<R>, options: CallOptions = {}): Promise<Reply<R>> {
    const accept = route.reply === BINARY ? BYTES_TYPE : JSON_TYPE;
    return this.#repeating(route, options, async () => {
      const response = await this.#send(route, input as Input<Route>, accept, options);
      const bytes = await readAll(response, options.maxReply ?? DEFAULT_MAX_REPLY, options.signal);
      return this.#parse(route, response, bytes) as Reply<R>;
    });
  }

  /** The reply's bytes as they come; asked for as application/octet-stream. What breaks in the middle is TM1805. */
  stream<R extends Route>(
    route: R,
    input: Input<R>,
    options: CallOptions = {},
  ): Promise<AsyncGenerator<Buffer>> {
    return this.#repeating(route, options, async () =>
      chunksOf(await this.#send(route, input as Input<Route>, BYTES_TYPE, options), options.signal),
    );
  }

  async #repeating<T>(route: Route, options: CallOptions, attempt: () => Promise<T>): Promise<T> {
    const { now, sleep: pause, random } = this.#world;
    const end = now() + (options.deadline ?? this.#options.deadline ?? DEFAULT_TIMEOUT);
    for (let bound = FIRST_DELAY; ; bound *= 2) {
      try {
        return await attempt();
      } catch (error) {
        const delay = Math.max(random() * Math.min(bound, LONGEST_DELAY), waitOf(error));
        if (!mayRepeat(error, route) || now() + delay > end) throw error;
        await pause(delay, options.signal).catch(() => {
          throw new TmError('TM1508');
        });
      }
    }
  }

  async #send(
    route: Route,
    input: { params?: unknown; query?: unknown; body?: unknown },
    accept: string,
    options: CallOptions,
  ): Promise<IncomingMessage> {
    const { token, instance } = this.#options;
    const isBytes = route.body === BINARY;
    const response = await exchange({
      url: this.#url(route, input.params, input.query),
      method: route.method,
      headers: {
        accept,
        ...(token && { authorization: `Bearer ${token}` }),
        ...(instance && { 'tidemark-instance': instance }),
        ...(route.body && { 'content-type': isBytes ? BYTES_TYPE : JSON_TYPE }),
      },
      body: bodyOf(route, input.body),
      agent: this.#agent,
      timeout: options.timeout ?? DEFAULT_TIMEOUT,
      signal: options.signal,
    });
    const status = response.statusCode!;
    if (status === 200 || status === 204) return response;
    throw await refusal(response);
  }

  #url(route: Route, params: unknown, query: unknown): URL {
    const values = (params ?? {}) as Record<string, unknown>;
    const path = route.path.replaceAll(/:(\w+)/g, (_, name) => encodeURIComponent(String(values[name])));
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    return url;
  }

  #parse(route: Route, response: IncomingMessage, bytes: Buffer): unknown {
    if (route.reply === BINARY) return bytes;
    if (route.reply === undefined) return undefined;
    try {
      return route.reply.parse(JSON.parse(bytes.toString()));
    } catch (error) {
      const kind = response.headers['content-type'] ?? 'no type';
      throw new TmError('TM1806', `${route.method} ${route.path} (${kind})`, { cause: error });
    }
  }
}

function bodyOf(route: Route, body: unknown): readonly Buffer[] {
  if (route.body === undefined) return [];
  if (route.body !== BINARY) return [Buffer.from(JSON.stringify(body))];
  return Buffer.isBuffer(body) ? [body] : (body as readonly Buffer[]);
}

/** A refusal with the server's word on when to come again. */
class RefusedError extends TmError {
  status = 0;
  /** Milliseconds. */
  retryAfter = 0;
}

async function refusal(response: IncomingMessage): Promise<TmError> {
  const status = response.statusCode!;
  const parsed = problemSchema.safeParse(jsonOf(await readAll(response, MAX_PROBLEM)));
  // A proxy in between that finds no server behind it answers in a language of its own.
  if (!parsed.success)
    return new TmError(status >= 502 && status <= 504 ? 'TM1805' : 'TM1806', `status ${status}`);
  const { code, message, spec } = errorOf(parsed.data);
  const detail = message === spec.title ? undefined : message.slice(spec.title.length + 2);
  const refused = new RefusedError(code, detail);
  refused.status = status;
  refused.retryAfter = Number(response.headers['retry-after'] ?? 0) * 1000 || 0;
  return refused;
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

const waitOf = (error: unknown): number => (error instanceof RefusedError ? error.retryAfter : 0);

/** Whether a call failed for a reason that passes, so that the same call, here or at another server, may succeed. */
export const isPassing = (error: unknown): boolean =>
  error instanceof RefusedError
    ? error.status === 429 || error.status === 503 || error.code === 'TM1810'
    : error instanceof TmError && error.code === 'TM1805';

function mayRepeat(error: unknown, { method, idempotent }: Route): boolean {
  const isHarmless = method !== 'POST' || idempotent === true;
  const hasNotRun = error instanceof UnsentError || error instanceof RefusedError;
  return isPassing(error) && (isHarmless || hasNotRun);
}

/** Memory is taken only for what is within the limit. */
async function readAll(response: IncomingMessage, limit: number, signal?: AbortSignal): Promise<Buffer> {
  const stated = Number(response.headers['content-length'] ?? Number.NaN);
  const tooLarge = () => {
    response.destroy();
    return new TmError('TM1806', `a reply of more than ${limit} bytes`);
  };
  if (stated > limit) throw tooLarge();
  const known = Number.isInteger(stated) ? Buffer.from(new ArrayBuffer(stated)) : undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunksOf(response, signal)) {
    if (known) chunk.copy(known, length);
    else chunks.push(chunk);
    length += chunk.length;
    if (length > limit) throw tooLarge();
  }
  return known ?? joined(chunks, length);
}

/** In memory of its own, so that it may be transferred. */
function joined(chunks: readonly Buffer[], length: number): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(length));
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(bytes, at);
  return bytes;
}

async function* chunksOf(response: IncomingMessage, signal?: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of response) yield chunk;
  } catch (error) {
    if (signal?.aborted) throw new TmError('TM1508');
    throw new TmError('TM1805', 'the connection broke in the middle of a reply', { cause: error });
  }
}
