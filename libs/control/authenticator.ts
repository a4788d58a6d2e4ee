import { createHash } from 'node:crypto';
import type { Authenticator, Credentials, Principal } from '../http/principal.ts';
import { TmError } from '../model/errors.ts';
import type { Registry, TokenRow } from '../registry/port.ts';
import { type PresentedToken, parseToken, sameHash } from './tokens.ts';

/** How long a token is believed without asking again: revoking takes effect after that at the latest. */
const TRUSTED_MS = 5000;
/** An agent's process that was silent for so long may be replaced by another. */
export const SILENCE_SECONDS = 60;
const REMEMBERED = 10_000;
const LONG_SECRET = /^\S{32,}$/;
const BOOTSTRAP: Principal = { kind: 'admin', tokenId: 'bootstrap' };

export interface AuthenticatorOptions {
  /** An administrator's token of the configuration's own, of at least 32 characters. */
  readonly adminToken?: string | undefined;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

interface Known {
  readonly row: TokenRow;
  readonly domain: string | undefined;
  readonly until: number;
}

interface Heard {
  readonly instance: string;
  readonly until: number;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Tells by the registry whose a token is. Every request of an agent but those from beside it signs its process on, so
 * that of two processes with one identity the second is refused (TM1803) until the first has signed off or was silent
 * for a minute.
 */
export class RegistryAuthenticator implements Authenticator {
  readonly #registry: Pick<Registry, 'access'>;
  readonly #adminHash: Buffer | undefined;
  readonly #now: () => number;
  readonly #tokens = new Map<string, Known>();
  readonly #heard = new Map<string, Heard>();

  constructor(registry: Pick<Registry, 'access'>, options: AuthenticatorOptions = {}) {
    const { adminToken, now = () => performance.now() } = options;
    if (adminToken !== undefined && !LONG_SECRET.test(adminToken))
      throw new TmError(
        'TM1002',
        "the administrator's token: expected are 32 characters or more, without spaces",
      );
    this.#registry = registry;
    this.#adminHash = adminToken === undefined ? undefined : sha256(adminToken);
    this.#now = now;
  }

  async authenticate({ token, instance, beside }: Credentials): Promise<Principal> {
    if (this.#adminHash && sameHash(sha256(token), this.#adminHash)) return BOOTSTRAP;
    const presented = parseToken(token);
    const known = presented && (await this.#find(presented));
    if (!presented || !known) throw new TmError('TM1801');
    const { row, domain } = known;
    if (row.kind !== presented.kind || !sameHash(row.hash, presented.hash)) throw new TmError('TM1801');
    checkState(row);
    const principal = { kind: row.kind, tokenId: row.id };
    if (row.kind !== 'agent') return principal;
    if (!beside) await this.#hear(row.agent!, instance);
    return { ...principal, agentUid: row.agent, domain };
  }

  /** The agent's process has gone: the next one need not wait. */
  async signOff(agentUid: string, instance: string): Promise<void> {
    this.#heard.delete(agentUid);
    await this.#registry.access.signOff(agentUid, instance);
  }

  /** A token that was just revoked here is refused here at once. */
  forget(): void {
    this.#tokens.clear();
    this.#heard.clear();
  }

  /** What is believed are valid tokens only, so that nobody fills the memory with guesses. */
  async #find({ id, hash }: PresentedToken): Promise<Known | undefined> {
    const now = this.#now();
    const there = this.#tokens.get(id);
    if (there && now < there.until) return there;
    this.#tokens.delete(id);
    const { access } = this.#registry;
    const row = await access.findToken(id);
    if (!row) return undefined;
    const domain = row.agent === undefined ? undefined : (await access.agent(row.agent))?.domain;
    const known = { row, domain, until: now + TRUSTED_MS };
    if (row.state === 'valid' && row.kind !== 'enrol' && sameHash(row.hash, hash))
      remember(this.#tokens, id, known);
    return known;
  }

  async #hear(agentUid: string, instance: string | undefined): Promise<void> {
    if (instance === undefined) throw new TmError('TM1807', 'header Tidemark-Instance: missing');
    const now = this.#now();
    const heard = this.#heard.get(agentUid);
    if (heard?.instance === instance && now < heard.until) return;
    await this.#registry.access.signOn(agentUid, instance, SILENCE_SECONDS);
    remember(this.#heard, agentUid, { instance, until: now + TRUSTED_MS });
  }
}

function checkState({ kind, state }: TokenRow): void {
  if (state === 'valid') return;
  throw kind === 'enrol' ? new TmError('TM1804', `it is ${state}`) : new TmError('TM1801', `it is ${state}`);
}

/** The oldest go first. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= REMEMBERED) break;
    map.delete(oldest);
  }
}
