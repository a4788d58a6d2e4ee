import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { TmError } from '../model/errors.ts';
import type { Binding } from './binding.ts';
import { HttpClient } from './client.ts';
import type { Authenticator, Principal } from './principal.ts';
import { bindRoutes, type ServerDeps } from './server.ts';
import { DEFAULT_LIMITS, type ServerLimits, serverOptions } from './server-options.ts';

/** Tokens that are accepted, until they are taken out. */
export class KnownTokens implements Authenticator {
  readonly tokens = new Map<string, Principal>();

  async authenticate({ token }: { token: string }): Promise<Principal> {
    const principal = this.tokens.get(token);
    if (!principal) throw new TmError('TM1801');
    return principal;
  }

  add(token: string, more: Partial<Principal> = {}): string {
    const kind = token.split('_')[1] as Principal['kind'];
    this.tokens.set(token, { kind, tokenId: token.split('_')[2]!, ...more });
    return token;
  }
}

/** Real routes on a random port of the loopback. */
export class ServerRig {
  readonly app: FastifyInstance;
  readonly tokens: KnownTokens;
  readonly #clients: HttpClient[] = [];

  private constructor(app: FastifyInstance, tokens: KnownTokens) {
    this.app = app;
    this.tokens = tokens;
  }

  static async start(
    bindings: readonly Binding[],
    deps: Partial<Omit<ServerDeps, 'limits'>> & { limits?: Partial<ServerLimits>; tokens?: KnownTokens } = {},
  ): Promise<ServerRig> {
    const limits = { ...DEFAULT_LIMITS, ...deps.limits };
    const app = fastify(serverOptions(limits));
    const tokens = deps.tokens ?? new KnownTokens();
    await bindRoutes(app, bindings, { authenticator: tokens, ...deps, limits });
    await app.listen({ host: '127.0.0.1', port: 0 });
    return new ServerRig(app, tokens);
  }

  get port(): number {
    return (this.app.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  client(token?: string, more: Partial<ConstructorParameters<typeof HttpClient>[0]> = {}): HttpClient {
    const client = new HttpClient({ server: this.url, token, deadline: 0, ...more });
    this.#clients.push(client);
    return client;
  }

  /** Sends text as it is and gives what comes back until the server closes. */
  raw(text: string | Buffer, options: { end?: boolean } = {}): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket = connect(this.port, '127.0.0.1', () => socket.write(text));
    if (options.end) socket.once('connect', () => socket.end());
    let answer = '';
    socket.on('data', (data) => {
      answer += data.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    return promise;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.app.server.closeAllConnections();
    await this.app.close();
  }
}
