import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Role } from '../http/route.ts';

/** What a token may be used for is its kind: the roles of routes. */
export type TokenKind = Role;

/** A token as it was presented: who it says it is, and SHA-256 of its secret. */
export interface PresentedToken {
  readonly kind: TokenKind;
  readonly id: string;
  readonly hash: Buffer;
}

export interface NewToken {
  /** `tm_<kind>_<id>_<secret>`: for its owner alone, kept nowhere. */
  readonly text: string;
  readonly hash: Buffer;
}

const SECRET_BYTES = 32;
const FORM = /^tm_(enrol|agent|reader|admin)_([0-9A-Za-z-]{1,64})_([\w-]{43})$/;

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export function makeToken(
  kind: TokenKind,
  id: string,
  random: (size: number) => Buffer = randomBytes,
): NewToken {
  const secret = random(SECRET_BYTES).toString('base64url');
  return { text: `tm_${kind}_${id}_${secret}`, hash: hashOf(secret) };
}

/** Undefined for what is no token. The secret has 256 random bits, so that one round of SHA-256 keeps it. */
export function parseToken(text: string): PresentedToken | undefined {
  const parts = FORM.exec(text);
  return parts ? { kind: parts[1] as TokenKind, id: parts[2]!, hash: hashOf(parts[3]!) } : undefined;
}

/** Takes the same time wherever the two differ. */
export const sameHash = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);
