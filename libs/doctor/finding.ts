import { TmError } from '../model/errors.ts';

export type Status = 'ok' | 'warning' | 'failed';

/** What one check found. */
export interface Finding {
  readonly name: string;
  readonly status: Status;
  /** What is, in words that need no other source. */
  readonly message: string;
  /** What to do; never missing unless all is well. */
  readonly guidance?: string;
}

export const ok = (name: string, message: string): Finding => ({ name, status: 'ok', message });

export const warning = (name: string, message: string, guidance: string): Finding => ({
  name,
  status: 'warning',
  message,
  guidance,
});

export const failed = (name: string, message: string, guidance: string): Finding => ({
  name,
  status: 'failed',
  message,
  guidance,
});

/** What an error says of a check: its own words and remedy. */
export function failedBy(name: string, error: unknown): Finding {
  if (error instanceof TmError) return failed(name, `${error.message} [${error.code}]`, error.spec.guidance);
  const message = error instanceof Error ? error.message : String(error);
  return failed(name, message, 'Run it again with --verbose and report what it prints.');
}
