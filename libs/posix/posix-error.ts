import { getSystemErrorMap } from 'node:util';
import * as numbers from './errno.ts';

const names = new Map<number, string>(Object.entries(numbers).map(([name, errno]) => [errno, name]));

/** `ENOENT` for 2 or -2; `E200` for a number without a known name. */
export function errnoName(errno: number): string {
  const positive = Math.abs(errno);
  return names.get(positive) ?? getSystemErrorMap().get(-positive)?.[0] ?? `E${positive}`;
}

/** A failed system call. */
export class PosixError extends Error {
  /** Positive, as in C; the calls of this library return it negated. */
  readonly errno: number;
  readonly code: string;
  readonly syscall: string;

  constructor(errno: number, syscall: string, subject?: string) {
    const positive = Math.abs(errno);
    const code = errnoName(positive);
    const reason = getSystemErrorMap().get(-positive)?.[1] ?? 'failed';
    super(`${syscall}: ${reason} (${code})${subject === undefined ? '' : `: ${subject}`}`);
    this.name = 'PosixError';
    this.errno = positive;
    this.code = code;
    this.syscall = syscall;
  }
}

/**
 * Turns the result of a call that returns -errno into an exception: `check(mkdirat(dir, name, 0o700), 'mkdirat')`.
 * `subject` goes into the message only.
 */
export function check(result: number, syscall: string, subject?: string | Buffer): number;
export function check<T extends object>(result: T | number, syscall: string, subject?: string | Buffer): T;
export function check<T>(result: T | number, syscall: string, subject?: string | Buffer): T | number {
  if (typeof result === 'number' && result < 0) throw new PosixError(result, syscall, subject?.toString());
  return result;
}
