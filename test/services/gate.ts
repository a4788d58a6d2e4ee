import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestOptions,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that came through the gate. */
export interface Passing {
  /** The name of the door it came through. */
  readonly door: string;
  readonly method: string;
  /** Path and query, decoded. */
  readonly url: string;
  readonly body: Buffer;
}

export interface Held extends Passing {
  /** Where the server has answered: the text of it. */
  readonly answer?: string;
  /** Lets it go on, be its client there or not. */
  release(): void;
}

/**
 * - `before`: the request is kept, its server knows nothing of it
 * - `after`: the server has done it, and its reply is kept
 * - `cut`: the server gets half of the body, then the connection breaks on both sides
 * - `shortened`: the server gets half of the body as a whole request, the client its reply
 */
type Trap = {
  readonly when: 'before' | 'after' | 'cut' | 'shortened';
  readonly match: (passing: Passing) => boolean;
  readonly hit: PromiseWithResolvers<Held>;
};

/**
 * Stands before an HTTP server and passes everything on, but for the requests that a test waits for: so that a kill hits
 * the very moment that it means.
 */
export class Gate {
  readonly #target: URL;
  readonly #servers: Server[] = [];
  readonly #agent = new Agent({ keepAlive: true });
  readonly #traps = new Set<Trap>();

  constructor(target: string) {
    this.#target = new URL(target);
  }

  /** One more address of the gate, so that clients can be told apart; gives its URL. */
  async door(name: string): Promise<string> {
    const server = createServer((incoming, reply) => {
      this.#pass(name, incoming, reply).catch(() => reply.destroy());
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    this.#servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Resolves when the next request that fits is there. */
  catch(when: Trap['when'], match: Trap['match']): Promise<Held> {
    const trap: Trap = { when, match, hit: Promise.withResolvers<Held>() };
    this.#traps.add(trap);
    return trap.hit.promise;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
    this.#agent.destroy();
  }

  async #pass(door: string, incoming: IncomingMessage, reply: ServerResponse): Promise<void> {
    const body = Buffer.concat(await incoming.toArray());
    const url = decodeURIComponent(incoming.url!);
    const passing: Passing = { door, method: incoming.method!, url, body };
    const trap = [...this.#traps].find(({ match }) => match(passing));
    if (trap) this.#traps.delete(trap);
    if (trap?.when === 'cut') return this.#cut(trap, passing, incoming);
    if (trap?.when === 'shortened') return this.#shorten(trap, passing, incoming, reply);
    if (trap?.when === 'before') await held(trap, passing);
    const answer = await this.#forward(incoming, body);
    if (trap?.when === 'after') await held(trap, passing);
    reply.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(reply);
  }

  #options({ method, url, headers }: IncomingMessage, length: number): RequestOptions {
    const { 'transfer-encoding': _, ...others } = headers;
    const { host, hostname, port } = this.#target;
    const sent = { ...others, host, ...(length > 0 && { 'content-length': String(length) }) };
    return { hostname, port, method, path: url!, headers: sent };
  }

  #forward(incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ ...this.#options(incoming, body.length), agent: this.#agent }, resolve);
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  async #cut(trap: Trap, passing: Passing, incoming: IncomingMessage): Promise<void> {
    const { body } = passing;
    const outgoing = request({ ...this.#options(incoming, body.length), agent: false });
    outgoing.on('error', () => {});
    await new Promise((done) => outgoing.write(body.subarray(0, body.length / 2), done));
    outgoing.destroy();
    incoming.socket.destroy();
    trap.hit.resolve({ ...passing, release: () => {} });
  }

  async #shorten(
    trap: Trap,
    passing: Passing,
    incoming: IncomingMessage,
    reply: ServerResponse,
  ): Promise<void> {
    const { body } = passing;
    const answer = await this.#forward(incoming, body.subarray(0, body.length / 2));
    const text = Buffer.concat(await answer.toArray());
    reply.writeHead(answer.statusCode!, answer.headers).end(text);
    trap.hit.resolve({ ...passing, answer: text.toString(), release: () => {} });
  }
}

async function held({ hit }: Trap, passing: Passing): Promise<void> {
  const released = Promise.withResolvers<void>();
  hit.resolve({ ...passing, release: released.resolve });
  await released.promise;
}
