const ID_BYTES = 32;
/** What is kept of an id, in words of 4 bytes. Ids are keyed hashes: no two of them begin alike. */
const WORDS = 4;

/** Ids of blocks, in an open-addressing table that is at most half full. One that begins with zeros is never found. */
export class IdSet {
  #table = new Uint32Array(1024 * WORDS);
  #count = 0;
  /** The id that is being looked for. */
  readonly #id = new Uint32Array(WORDS);

  /** `ids`: behind one another, 32 bytes each. */
  add(ids: Buffer): void {
    for (let at = 0; at < ids.length; at += ID_BYTES) {
      if (2 * WORDS * this.#count >= this.#table.length) this.#grow();
      for (let i = 0; i < WORDS; i++) this.#id[i] = ids.readUInt32LE(at + 4 * i);
      this.#put();
    }
  }

  /** Whether the id that begins at `at` was added. */
  has(ids: Buffer, at: number): boolean {
    for (let i = 0; i < WORDS; i++) this.#id[i] = ids.readUInt32LE(at + 4 * i);
    return !this.#isFree(this.#find());
  }

  #put(): void {
    const slot = this.#find();
    if (this.#isFree(slot)) this.#count++;
    this.#table.set(this.#id, slot);
  }

  /** The slot that holds the id, or the free one where it would lie. */
  #find(): number {
    const mask = this.#table.length - 1;
    let slot = (this.#id[0]! * WORDS) & mask;
    while (!this.#holds(slot) && !this.#isFree(slot)) slot = (slot + WORDS) & mask;
    return slot;
  }

  #holds(slot: number): boolean {
    for (let i = 0; i < WORDS; i++) if (this.#table[slot + i] !== this.#id[i]) return false;
    return true;
  }

  #isFree(slot: number): boolean {
    for (let i = 0; i < WORDS; i++) if (this.#table[slot + i] !== 0) return false;
    return true;
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Uint32Array(2 * old.length);
    this.#count = 0;
    for (let slot = 0; slot < old.length; slot += WORDS) {
      this.#id.set(old.subarray(slot, slot + WORDS));
      if (this.#id.some((word) => word !== 0)) this.#put();
    }
  }
}
