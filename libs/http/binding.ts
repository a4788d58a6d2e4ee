import type { Principal } from './principal.ts';
import type { RequestBody } from './request-body.ts';
import type { BINARY, Parsed, Route } from './route.ts';

/** Where a request's handling is told of; pino's and Fastify's loggers fit. */
export interface RequestLog {
  info(fields: object, message?: string): void;
  warn(fields: object, message?: string): void;
  error(fields: object, message?: string): void;
}

type BodyOf<B> = B extends typeof BINARY ? RequestBody : Parsed<B>;

/** A reply of bytes. An iterable is read no faster than the client takes it; if it fails after its first piece, the connection is cut. */
export type Bytes = Buffer | AsyncIterable<Buffer>;

/** Where the reply is JSON, a client that accepts only application/octet-stream (`wantsBytes`) may be given bytes. */
type ReplyOf<R> = R extends typeof BINARY ? Bytes : Parsed<R> | Bytes;

export interface HandlerRequest<R extends Route = Route> {
  readonly params: Parsed<R['params']>;
  readonly query: Parsed<R['query']>;
  readonly body: BodyOf<R['body']>;
  readonly principal: Principal;
  readonly instance: string | undefined;
  readonly wantsBytes: boolean;
  /** Aborted when the client goes away before it has its reply. */
  readonly signal: AbortSignal;
  readonly log: RequestLog;
}

type Handler<R extends Route = Route> = (
  request: HandlerRequest<R>,
) => R['reply'] extends undefined ? Promise<void> : Promise<ReplyOf<R['reply']>>;

/** A route and what answers it. `concurrent`: how many requests of it are handled at once; more get TM1808 (503). */
export interface Binding {
  readonly route: Route;
  readonly handle: Handler;
  readonly concurrent: number | undefined;
}

export const bind = <R extends Route>(
  route: R,
  handle: Handler<R>,
  options: { concurrent?: number } = {},
): Binding => ({ route, handle: handle as unknown as Handler, concurrent: options.concurrent });
