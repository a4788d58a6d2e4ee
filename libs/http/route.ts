import type { z } from 'zod';

/** Who may call a route. `agent`: about its own sources and backups only. */
export type Role = 'enrol' | 'agent' | 'reader' | 'admin';
export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Stands where a body or reply is bytes (application/octet-stream), streamed, not JSON. */
export const BINARY = 'binary';
export type Schema = z.ZodType | typeof BINARY | undefined;

/**
 * One route of the HTTP API, for server, client and OpenAPI alike. Paths have `:name` parameters; all of `params` and
 * `query` are strings on the wire, so that their schemas coerce. An admin may call whatever a reader may.
 */
export interface Route<
  P extends z.ZodType | undefined = z.ZodType | undefined,
  Q extends z.ZodType | undefined = z.ZodType | undefined,
  B extends Schema = Schema,
  R extends Schema = Schema,
> {
  readonly method: Method;
  readonly path: string;
  /** Empty: anybody. */
  readonly roles: readonly Role[];
  readonly summary: string;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly reply: R;
  /** Bytes of the largest body; the default is 1 MiB. */
  readonly maxBody?: number;
  /** A POST that does no more when it comes twice; the client repeats it after a broken connection, as it does all other methods. */
  readonly idempotent?: boolean;
  /** Who has an agent's token may call it beside the agent's own process: the call claims no identity. */
  readonly beside?: boolean;
}

/** What a handler gets of a schema, and what a client's call resolves to. */
export type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined;
/** What goes over the wire for a schema, before it is JSON or text. */
export type Given<S> = S extends z.ZodType ? z.input<S> : undefined;

type Definition<P, Q, B, R> = Partial<Pick<Route, 'roles' | 'maxBody' | 'idempotent' | 'beside'>> & {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly reply?: R;
};

export function defineRoute<
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends Schema = undefined,
  R extends Schema = undefined,
>(given: Definition<P, Q, B, R>): Route<P, Q, B, R> {
  return {
    roles: [],
    ...given,
    params: given.params as P,
    query: given.query as Q,
    body: given.body as B,
    reply: given.reply as R,
  };
}
