import { type ErrorCode, TmError } from '../../model/errors.ts';

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'TM1204',
  EDQUOT: 'TM1204',
  EROFS: 'TM1201',
  EACCES: 'TM1201',
  EPERM: 'TM1201',
  ESTALE: 'TM1201',
  ENODEV: 'TM1201',
  ENOTCONN: 'TM1201',
  ETIMEDOUT: 'TM1201',
  EHOSTDOWN: 'TM1201',
};

/** The errno's name of an error of a system call, else undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return undefined;
  return String(error.code);
}

/** True where the error says that nothing has that path. */
export function isAbsence(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR';
}

/** What a failed system call means for the store; other errors stay as they are. */
export function toStoreError(error: unknown, what: string): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  return new TmError(CODES[errno] ?? 'TM1211', `${what}: ${(error as Error).message}`, { cause: error });
}
