const ID_BYTES = 32;
const FIRST = 1024;
/** 12 MiB when full. */
const LIMIT = 262_144;

/**
 * Ids of blocks that are known to be in the registry, in bounded memory: at the limit all are forgotten and it begins
 * anew. Ids are keyed hashes, so that their own first bytes spread them.
 */
export class SeenBlocks {
  readonly #limit: number;
  /** One behind the other, in the order in which they came. */
  #ids: Buffer;
  /** Number of an id, from 1, by its first bytes and the free place after that; twice as many as ids. */
  #slots: Int32Array;
  #count = 0;
  #complete = true;

  constructor(limit = LIMIT) {
    this.#limit = limit;
    [this.#ids, this.#slots] = this.#room(Math.min(FIRST, limit));
  }

  /** False once something was forgotten. */
  get complete(): boolean {
    return this.#complete;
  }

  #room(ids: number): [Buffer, Int32Array] {
    let slots = 2;
    while (slots < 2 * ids) slots *= 2;
    return [Buffer.allocUnsafeSlow(ids * ID_BYTES), new Int32Array(slots)];
  }

  /** Where the id is, or the free place where it would be. */
  #slotOf(ids: Buffer, at: number): number {
    const mask = this.#slots.length - 1;
    let slot = ids.readUInt32LE(at) & mask;
    for (let number = this.#slots[slot]!; number !== 0; number = this.#slots[slot]!) {
      const own = (number - 1) * ID_BYTES;
      if (ids.compare(this.#ids, own, own + ID_BYTES, at, at + ID_BYTES) === 0) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** The id that begins at `at`. */
  has(ids: Buffer, at = 0): boolean {
    return this.#slots[this.#slotOf(ids, at)] !== 0;
  }

  add(ids: Buffer, at = 0): void {
    if (this.has(ids, at)) return;
    if (this.#count * ID_BYTES === this.#ids.length) this.#grow();
    ids.copy(this.#ids, this.#count * ID_BYTES, at, at + ID_BYTES);
    this.#slots[this.#slotOf(ids, at)] = ++this.#count;
  }

  #grow(): void {
    if (this.#count >= this.#limit) {
      this.#slots.fill(0);
      this.#count = 0;
      this.#complete = false;
      return;
    }
    const [known, count] = [this.#ids, this.#count];
    [this.#ids, this.#slots] = this.#room(Math.min(2 * count, this.#limit));
    known.copy(this.#ids);
    for (let n = 0; n < count; n++) this.#slots[this.#slotOf(known, n * ID_BYTES)] = n + 1;
  }
}
