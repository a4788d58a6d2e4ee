import type { ErrorCode } from '../model/errors.ts';

export interface PackTask {
  readonly pack: Uint8Array;
  readonly size: number;
  /** Read, decrypt and check every block; else only the index. */
  readonly readData: boolean;
}

export interface PackResult {
  /** Bytes read, and blocks whose content was checked. */
  readonly bytes: number;
  readonly blocks: number;
  /** Ids of data keys that the pack uses, 16 bytes each. */
  readonly keys: readonly Uint8Array[];
  /** What is wrong. Without `block` it is the pack's as a whole: none of its blocks counts as whole then. */
  readonly problems: readonly {
    readonly code: ErrorCode;
    readonly block: Uint8Array | undefined;
    readonly message: string;
  }[];
}
