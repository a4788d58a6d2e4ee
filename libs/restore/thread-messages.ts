import type { SentError } from '../model/sent-error.ts';

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

/** Memory that is all the bytes' own travels without a copy. */
export const ownMemory = (bytes: Uint8Array): ArrayBuffer[] =>
  bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer] : [];

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
