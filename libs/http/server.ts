import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import type { Binding, Bytes, HandlerRequest } from './binding.ts';
import { ANYBODY, type Authenticator, type Principal } from './principal.ts';
import { BusyError } from './problem.ts';
import { RequestBody } from './request-body.ts';
import { BINARY, type Role, type Route, type Schema } from './route.ts';
import { sendBytes, sendProblem } from './send-reply.ts';
import { DEFAULT_LIMITS, type ServerLimits } from './server-options.ts';
import { type Rate, TokenBuckets } from './token-buckets.ts';

const DEFAULT_MAX_BODY = 1024 * 1024;
const DEFAULT_RATE: Rate = { perSecond: 200, burst: 400 };
/** Of one address, tokens that are not accepted: whoever guesses has to be patient. */
const REFUSED_RATE: Rate = { perSecond: 1, burst: 20 };
const BUSY_SECONDS = 1;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export interface ServerDeps {
  readonly authenticator: Authenticator;
  /** Of one token, or on open routes of one address. */
  readonly rate?: Rate;
  readonly limits?: ServerLimits;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

/**
 * Serves routes. Checked in this order: token, role, rate, parameters, room for one more request, body. Nothing of a
 * body is read before the rest is right. Errors are application/problem+json.
 */
export async function bindRoutes(
  app: FastifyInstance,
  bindings: readonly Binding[],
  deps: ServerDeps,
): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    scope.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
    const gate = new Gate(deps);
    for (const binding of bindings) bindRoute(scope, binding, gate, deps.limits ?? DEFAULT_LIMITS);
  });
}

function bindRoute(scope: FastifyInstance, binding: Binding, gate: Gate, limits: ServerLimits): void {
  const { route, concurrent = Number.POSITIVE_INFINITY } = binding;
  let handled = 0;
  const handler = async (request: FastifyRequest, reply: FastifyReply) => {
    try {
      const { principal, instance } = await gate.enter(request, route);
      if (handled >= concurrent) throw new BusyError(503, BUSY_SECONDS, 'too many requests at once');
      handled++;
      const gone = goneSignal(reply, () => handled--);
      const params = parse(route.params, request.params, 'path');
      const query = parse(route.query, request.query, 'query');
      const body = await readBody(route.body, request, {
        maxBytes: route.maxBody ?? DEFAULT_MAX_BODY,
        idle: limits.idle,
      });
      const wantsBytes = request.headers.accept === 'application/octet-stream';
      const given = { params, query, body, principal, instance, wantsBytes, signal: gone, log: request.log };
      const result = await binding.handle(given as unknown as HandlerRequest);
      return await send(reply, route.reply, result, limits.idle);
    } catch (error) {
      return sendProblem(request, reply, error);
    }
  };
  scope.route({ method: route.method, url: route.path, exposeHeadRoute: false, handler });
}

/** Aborts when the connection closes before the reply is out; `onEnd` is called once, in either case. */
function goneSignal(reply: FastifyReply, onEnd: () => void): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    onEnd();
    if (!reply.raw.writableFinished) controller.abort(new TmError('TM1508', 'the client went away'));
  });
  return controller.signal;
}

function parse(schema: z.ZodType | undefined, value: unknown, place: string): unknown {
  if (!schema) return undefined;
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const issue = error.issues[0]!;
  throw new TmError('TM1807', `${[place, ...issue.path].join('.')}: ${issue.message}`);
}

async function readBody(
  schema: Schema,
  request: FastifyRequest,
  limits: { maxBytes: number; idle: number },
): Promise<unknown> {
  if (schema === undefined) return undefined;
  const body = new RequestBody(request.raw, limits);
  if (schema === BINARY) return body;
  let value: unknown;
  try {
    value = JSON.parse((await body.bytes()).toString());
  } catch (error) {
    if (error instanceof TmError) throw error;
    throw new TmError('TM1807', 'body: no JSON');
  }
  return parse(schema, value, 'body');
}

/** A reply is made by its schema: what the schema does not name stays here. */
async function send(
  reply: FastifyReply,
  schema: Schema,
  result: unknown,
  idle: number,
): Promise<FastifyReply> {
  if (Buffer.isBuffer(result) || isIterable(result)) return sendBytes(reply, result, idle);
  if (schema === undefined || schema === BINARY) return reply.code(204).send();
  return reply.type('application/json').send(JSON.stringify(z.encode(schema, result)));
}

const isIterable = (value: unknown): value is Exclude<Bytes, Buffer> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** Lets in who has a token of the right role and does not ask too often. */
class Gate {
  readonly #authenticator: Authenticator;
  readonly #rate: TokenBuckets;
  readonly #refused: TokenBuckets;

  constructor({ authenticator, rate = DEFAULT_RATE, now = () => performance.now() }: ServerDeps) {
    this.#authenticator = authenticator;
    this.#rate = new TokenBuckets(rate, now);
    this.#refused = new TokenBuckets(REFUSED_RATE, now);
  }

  async enter(
    request: FastifyRequest,
    { roles, beside = false }: Pick<Route, 'roles' | 'beside'>,
  ): Promise<{ principal: Principal; instance: string | undefined }> {
    const instance = header(request, 'tidemark-instance');
    if (roles.length === 0) {
      this.#rate.take(`address ${request.ip}`);
      return { principal: ANYBODY, instance };
    }
    const principal = await this.#authenticate(request, instance, beside);
    if (!mayCall(principal, roles)) throw new TmError('TM1802', `needed: ${roles.join(' or ')}`);
    this.#rate.take(principal.tokenId);
    return { principal, instance };
  }

  async #authenticate(
    request: FastifyRequest,
    instance: string | undefined,
    beside: boolean,
  ): Promise<Principal> {
    const token = /^Bearer +(\S+)$/i.exec(header(request, 'authorization') ?? '')?.[1];
    try {
      if (!token) throw new TmError('TM1801', 'the request carries none');
      if (instance !== undefined && !UUID.test(instance))
        throw new TmError('TM1807', 'header Tidemark-Instance: no UUID');
      if (token.startsWith('tm_agent_') && instance === undefined && !beside)
        throw new TmError('TM1807', 'header Tidemark-Instance: missing');
      return await this.#authenticator.authenticate({ token, instance, beside });
    } catch (error) {
      if (error instanceof TmError && error.code === 'TM1801') this.#refused.take(request.ip);
      throw error;
    }
  }
}

const header = (request: FastifyRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
};

const mayCall = ({ kind }: Principal, roles: readonly Role[]): boolean =>
  roles.some((role) => role === kind || (role === 'reader' && kind === 'admin'));
