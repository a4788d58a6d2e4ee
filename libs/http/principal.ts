import type { Role } from './route.ts';

/** Who a request comes from, as its token says. */
export interface Principal {
  readonly kind: Role | 'anybody';
  readonly tokenId: string;
  /** Of agents: the agent's uid and its domain. */
  readonly agentUid?: string | undefined;
  readonly domain?: string | undefined;
}

/** Whoever calls a route that is open to all. */
export const ANYBODY: Principal = { kind: 'anybody', tokenId: '' };

/** What a request says of its sender. */
export interface Credentials {
  /** What stands behind "Bearer " in the Authorization header. */
  readonly token: string;
  /** UUID of the process (header Tidemark-Instance); there with an agent's token, but on routes for who is beside it. */
  readonly instance: string | undefined;
  /** An agent's token claims no identity with this request (see `Route`). */
  readonly beside?: boolean;
}

/** Looks a token up. Throws TM1801 where it is unknown, revoked or expired, TM1803 where another instance is signed on. */
export interface Authenticator {
  authenticate(credentials: Credentials): Promise<Principal>;
}
