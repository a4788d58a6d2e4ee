import { ERRORS, type ErrorCode, TmError } from '../model/errors.ts';

/** An error on its way between threads. */
export interface SentError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
}

export type FromThread =
  | { readonly type: 'locate'; readonly call: number; readonly ids: Uint8Array }
  | {
      readonly type: 'read';
      readonly call: number;
      readonly pack: Uint8Array;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly type: 'key'; readonly call: number; readonly id: Uint8Array }
  | { readonly type: 'done'; readonly task: number; readonly result: unknown }
  | { readonly type: 'failed'; readonly task: number; readonly error: SentError };

export type ToThread =
  | { readonly type: 'task'; readonly task: number; readonly work: unknown }
  | { readonly type: 'answer'; readonly call: number; readonly bytes: Uint8Array }
  | { readonly type: 'refused'; readonly call: number; readonly error: SentError };

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

/** Memory that is all the bytes' own travels without a copy. */
export const ownMemory = (bytes: Uint8Array): ArrayBuffer[] =>
  bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer] : [];

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
