import type { SentError } from '../model/sent-error.ts';

/** `read`: bytes of packs that the thread has read by itself since it said so last. */
export type FromThread =
  | { readonly type: 'locate'; readonly call: number; readonly ids: Uint8Array }
  | {
      readonly type: 'read';
      readonly call: number;
      readonly pack: Uint8Array;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly type: 'file'; readonly call: number; readonly pack: Uint8Array }
  | { readonly type: 'key'; readonly call: number; readonly id: Uint8Array }
  | { readonly type: 'done'; readonly task: number; readonly read: number; readonly result: unknown }
  | { readonly type: 'failed'; readonly task: number; readonly read: number; readonly error: SentError };

export type Question = Exclude<FromThread, { readonly task: number }>;

export type ToThread =
  | { readonly type: 'task'; readonly task: number; readonly work: unknown }
  | { readonly type: 'answer'; readonly call: number; readonly bytes: Uint8Array }
  | { readonly type: 'refused'; readonly call: number; readonly error: SentError }
  | { readonly type: 'close' };

/** Memory that is all the bytes' own travels without a copy. */
export const ownMemory = (bytes: Uint8Array): ArrayBuffer[] =>
  bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer] : [];

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
