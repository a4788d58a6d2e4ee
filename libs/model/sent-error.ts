import { ERRORS, type ErrorCode, TmError } from './errors.ts';

/** An error on its way between threads. */
export interface SentError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
}

export function sendError(error: unknown): SentError {
  if (error instanceof TmError) return { code: error.code, message: error.message };
  return {
    code: undefined,
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  };
}

export function reviveError({ code, message }: SentError): TmError {
  if (!code) return new TmError('TM1099', message);
  const { title } = ERRORS[code];
  return new TmError(code, message.startsWith(`${title}: `) ? message.slice(title.length + 2) : undefined);
}
