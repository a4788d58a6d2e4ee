/** What happens to a directory when the walk comes to it. */
export const Visit = {
  /** Listed. Its own entry is unchanged. */
  walk: 0,
  /** Listed. Its own entry was given out as work. */
  walkEmitted: 1,
  /** Not listed: what is known below it stays. */
  keep: 2,
} as const;
export type Visit = (typeof Visit)[keyof typeof Visit];

export interface Subdirectory {
  readonly name: Buffer;
  readonly visit: Visit;
  /** It was the root of a mounted file system when its parent was listed. */
  readonly isMount: boolean;
  /** Of its entry in the new state. */
  readonly handle: number;
}

const FIXED_BYTES = 11;
const NONE = Buffer.alloc(0);

/** Subdirectories of one directory that wait for their visit, in order; packed, since there may be very many. */
export class Subdirectories {
  #bytes = NONE;
  #readAt = 0;
  #end = 0;

  push(name: Buffer, visit: Visit, isMount: boolean, handle: number): void {
    const length = FIXED_BYTES + name.length;
    if (this.#end + length > this.#bytes.length) this.#grow(length);
    const at = this.#end;
    this.#bytes[at] = visit;
    this.#bytes[at + 1] = isMount ? 1 : 0;
    this.#bytes.writeDoubleLE(handle, at + 2);
    this.#bytes[at + 10] = name.length;
    for (let i = 0, to = at + FIXED_BYTES; i < name.length; i++, to++) this.#bytes[to] = name[i]!;
    this.#end += length;
  }

  #grow(length: number): void {
    const grown = Buffer.allocUnsafe(Math.max(256, this.#bytes.length * 2 + length));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }

  shift(): Subdirectory | undefined {
    if (this.#readAt === this.#end) return undefined;
    const bytes = this.#bytes;
    const at = this.#readAt;
    this.#readAt += FIXED_BYTES + bytes[at + 10]!;
    return {
      visit: bytes[at] as Visit,
      isMount: bytes[at + 1] === 1,
      handle: bytes.readDoubleLE(at + 2),
      name: bytes.subarray(at + FIXED_BYTES, this.#readAt),
    };
  }
}
