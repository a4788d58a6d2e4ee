import { randomUUID } from 'node:crypto';
import { agentRoutes, catalogueRoutes } from '../contracts/api/control.ts';
import { HttpClient } from '../http/client.ts';
import { Writers } from '../intake/writers.ts';

/** Milliseconds in which a server that is away or busy is asked again. */
const PATIENCE = 10_000;
const SIGN_OFF_MS = 3000;

export interface ServerAccess {
  /** URL of the control plane. */
  readonly server: string;
  /** Of a reader, an administrator or an agent; an agent sees what is its own. */
  readonly token: string;
}

/** Control plane and storage writers, with one token, for as long as a command runs. */
export class ServerConnection {
  readonly control: HttpClient;
  readonly signal: AbortSignal;
  readonly #access: ServerAccess;
  readonly #instance: string | undefined;
  readonly #clients: HttpClient[] = [];
  #writers: Promise<Writers> | undefined;

  constructor(access: ServerAccess, signal: AbortSignal) {
    this.#access = access;
    this.signal = signal;
    this.#instance = access.token.startsWith('tm_agent_') ? randomUUID() : undefined;
    this.control = this.#client(access.server);
  }

  writers(): Promise<Writers> {
    this.#writers ??= this.#findWriters();
    return this.#writers;
  }

  async #findWriters(): Promise<Writers> {
    const { signal } = this;
    const { writers } = await this.control.call(catalogueRoutes.listWriters, {}, { signal });
    return new Writers({ clients: writers.map((url) => this.#client(url)), signal });
  }

  #client(server: string): HttpClient {
    const { token } = this.#access;
    const client = new HttpClient({ server, token, instance: this.#instance, deadline: PATIENCE });
    this.#clients.push(client);
    return client;
  }

  /** An agent's identity is free again at once. */
  async close(): Promise<void> {
    if (this.#instance !== undefined) {
      const signal = AbortSignal.timeout(SIGN_OFF_MS);
      await this.control.call(agentRoutes.signOff, { body: {} }, { signal }).catch(() => {}); // else it lapses
    }
    for (const client of this.#clients) client.close();
  }
}
