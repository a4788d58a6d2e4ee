import type { DomainKeys } from '../blocks/keys.ts';
import type { BackupInfo, BackupState, Epoch } from '../model/backup.ts';

/**
 * How a slot is held by who keeps no session with the registry: for a time that has to be renewed, by the registry's
 * clock. It binds the backup only while it is open; a sealed one is finished by its messages.
 */
export interface Lease {
  readonly seconds: number;
  /** Key of the MACs of the backup's messages, 32 bytes; forgotten when the backup ends. */
  readonly macKey: Buffer;
  /** The process that the agent is: it names itself in each request. */
  readonly instance: string;
  /** Over how many shards the backup's batches go. */
  readonly shards: number;
}

/** What a message or request of a backup is checked by. */
export interface Admission {
  readonly sourceId: number;
  readonly state: BackupState;
  readonly epoch: Epoch;
  /** Undefined once it has ended, and of one that was opened without a lease; so are the others below. */
  readonly macKey: Buffer | undefined;
  readonly instance: string | undefined;
  readonly shards: number | undefined;
}

/** A backup that nobody brings on: its agent went silent (TM1512), or no piece of it comes any more (TM1513). */
export interface OverdueBackup {
  readonly backup: BackupInfo;
  readonly code: 'TM1512' | 'TM1513';
}

export type TokenKind = 'enrol' | 'agent' | 'reader' | 'admin';

export interface NewToken {
  readonly id: string;
  readonly kind: TokenKind;
  /** SHA-256 of the secret. */
  readonly hash: Buffer;
  readonly name: string;
  /** Uid of the agent that it is for. */
  readonly agent?: string | undefined;
  /** Of an enrolment: the domain to join; without it one is made. */
  readonly domain?: string | undefined;
  /** How long it is good; without it until it is revoked. */
  readonly seconds?: number | undefined;
}

export interface TokenRow {
  readonly id: string;
  readonly kind: TokenKind;
  readonly hash: Buffer;
  readonly name: string;
  readonly agent: string | undefined;
  readonly domain: string | undefined;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly usedAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** By the registry's clock, at this moment. A token of an agent that was revoked is revoked. */
  readonly state: 'valid' | 'used' | 'expired' | 'revoked';
}

export interface AgentRow {
  readonly uid: string;
  readonly name: string;
  readonly domain: string;
  readonly enrolledAt: Date;
  /** The process that is signed on. */
  readonly instance: string | undefined;
  /** When that one was last heard of. */
  readonly instanceSeenAt: Date | undefined;
  /** When any was. */
  readonly lastSeenAt: Date | undefined;
  readonly revokedAt: Date | undefined;
}

/** Who may talk to the services. All times are of the registry's clock. */
export interface AccessTable {
  createToken(token: NewToken): Promise<TokenRow>;
  /** In whatever state. */
  findToken(id: string): Promise<TokenRow | undefined>;
  tokens(): Promise<TokenRow[]>;
  /** Uses an enrolment token up. Of many at once one succeeds; TM1804 for the others, and where it is not valid. */
  useEnrolment(id: string): Promise<TokenRow>;
  /** Idempotent: an agent that is known stays as it is. */
  addAgent(agent: {
    readonly uid: string;
    readonly name: string;
    readonly domain: string;
  }): Promise<AgentRow>;
  agent(uid: string): Promise<AgentRow | undefined>;
  agents(): Promise<AgentRow[]>;
  /** From now on the token, or the agent with all its tokens, is refused. False where there is none. */
  revoke(what: { readonly token: string } | { readonly agent: string }): Promise<boolean>;
  /**
   * The instance becomes the agent's process. TM1803 where another one is, unless that was silent for
   * `silenceSeconds`; TM1801 where the agent is unknown or revoked. Again by the same one: as `touch`.
   */
  signOn(agentUid: string, instance: string, silenceSeconds: number): Promise<AgentRow>;
  /** Frees the agent for another process; nothing where the instance is not the one signed on. */
  signOff(agentUid: string, instance: string): Promise<void>;
  /** The instance was heard of. TM1803 where it is not the one signed on, TM1801 as with `signOn`. */
  touch(agentUid: string, instance: string): Promise<void>;
}

/** What of a domain the writing side needs: never its private key. */
export interface DomainsTable {
  /** Idempotent. Throws TM1303 where the domain is known with other keys: what they wrote could not be found again. */
  add(domain: DomainKeys): Promise<void>;
  get(uid: string): Promise<DomainKeys | undefined>;
  list(): Promise<DomainKeys[]>;
}

export interface PolicyRow {
  readonly sourceId: number;
  /** JSON, whose form its reader checks. */
  readonly policy: unknown;
  readonly updatedAt: Date;
}

/** One policy a source at most. */
export interface PoliciesTable {
  get(sourceId: number): Promise<PolicyRow | undefined>;
  set(sourceId: number, policy: object): Promise<PolicyRow>;
  /** False where there is none. */
  delete(sourceId: number): Promise<boolean>;
  /** In the order in which their sources were made; here: all. */
  list(page?: { readonly afterId: number; readonly limit: number }): Promise<PolicyRow[]>;
}
