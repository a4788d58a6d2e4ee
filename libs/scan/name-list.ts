import { MAX_NAME_BYTES } from '../model/tree-path.ts';
import { type DirReader, DT_UNKNOWN, Scratch } from '../posix/index.ts';

const RUN = 16;

/**
 * The names of one directory, sorted by bytes, packed with a NUL after each (some 30 bytes a name). Reused from one
 * directory to the next, so that its memory is that of the largest directory met.
 */
export class NameList {
  #packed = new Scratch(64 * 1024);
  #starts = new Uint32Array(1024);
  #types = new Uint8Array(1024);
  #keys = new Float64Array(1024);
  #order = new Uint32Array(1024);
  /** What runs are merged into. */
  #merged = new Uint32Array(1024);
  readonly #scratch = Buffer.alloc(MAX_NAME_BYTES);
  readonly #views: Buffer[] = [];
  /** Bytes that a name begins with. */
  readonly #firsts = new Uint8Array(256);
  #used = 0;
  #position = 0;
  count = 0;
  /** There were names over 255 bytes (some file systems count characters); they are left out. */
  hasLongNames = false;

  /** Reads all names that are left in `reader`. Throws what it throws; the list is of no use then. */
  fill(reader: DirReader): void {
    this.count = 0;
    this.#used = 0;
    this.hasLongNames = false;
    this.#firsts.fill(0);
    while (reader.next()) this.#add(reader);
    this.#sort();
  }

  /** Moves to the name at `position` in sorted order. */
  select(position: number): void {
    this.#position = this.#order[position]!;
  }

  /** Whether there is such a name. Selects another one. */
  has(name: Buffer): boolean {
    if (this.#firsts[name[0]!] === 0) return false;
    let low = 0;
    for (let high = this.count; low < high; ) {
      const middle = (low + high) >>> 1;
      this.select(middle);
      const order = this.#orderOf(name);
      if (order === 0) return true;
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return false;
  }

  /** Of `name` to the selected one. */
  #orderOf(name: Buffer): number {
    const { bytes, start } = this;
    const there = this.end - start;
    const length = Math.min(name.length, there);
    for (let i = 0; i < length; i++) {
      const difference = name[i]! - bytes[start + i]!;
      if (difference !== 0) return difference;
    }
    return name.length - there;
  }

  /** What `start` is a byte of. */
  get packed(): Scratch {
    return this.#packed;
  }
  get bytes(): Buffer {
    return this.#packed.bytes;
  }
  get start(): number {
    return this.#starts[this.#position]!;
  }
  get end(): number {
    return this.#starts[this.#position + 1]! - 1;
  }
  /** Its bytes, valid until the next `select`: one buffer for each length serves all names. */
  get name(): Buffer {
    const { bytes, start, end } = this;
    this.#views[end - start] ??= this.#scratch.subarray(0, end - start);
    const name = this.#views[end - start]!;
    for (let i = start; i < end; i++) name[i - start] = bytes[i]!;
    return name;
  }
  /** DT_*; DT_UNKNOWN where the file system doesn't tell. */
  get type(): number {
    return this.#types[this.#position] ?? DT_UNKNOWN;
  }

  #add(reader: DirReader): void {
    while (this.#used + reader.nameRoom > this.bytes.length) this.#growBytes();
    const start = this.#used;
    const length = reader.copyName(this.bytes, start);
    if (length > MAX_NAME_BYTES) {
      this.hasLongNames = true;
      return;
    }
    if (this.count + 2 > this.#starts.length) this.#grow();
    this.#firsts[this.bytes[start]!] = 1;
    this.#keys[this.count] = keyOf(this.bytes, start, length);
    this.#order[this.count] = this.count;
    this.#types[this.count] = reader.type;
    this.#used += length + 1;
    this.#starts[++this.count] = this.#used;
  }

  #growBytes(): void {
    const packed = new Scratch(this.bytes.length * 2);
    this.bytes.copy(packed.bytes, 0, 0, this.#used);
    this.#packed = packed;
  }

  #grow(): void {
    const size = this.#starts.length * 2;
    this.#starts = grown(this.#starts, new Uint32Array(size));
    this.#types = grown(this.#types, new Uint8Array(size));
    this.#keys = grown(this.#keys, new Float64Array(size));
    this.#order = grown(this.#order, new Uint32Array(size));
    this.#merged = new Uint32Array(size);
  }

  /** By insertion in runs of a few names, which are merged then: a sort with a function of ours is five times slower. */
  #sort(): void {
    for (let start = 0; start < this.count; start += RUN)
      this.#sortRun(start, Math.min(start + RUN, this.count));
    for (let length = RUN; length < this.count; length *= 2) {
      for (let start = 0; start < this.count; start += 2 * length)
        this.#merge(start, Math.min(start + length, this.count), Math.min(start + 2 * length, this.count));
      [this.#order, this.#merged] = [this.#merged, this.#order];
    }
  }

  #sortRun(start: number, end: number): void {
    const order = this.#order;
    for (let i = start + 1; i < end; i++) {
      const name = order[i]!;
      let at = i;
      for (; at > start && this.#compare(order[at - 1]!, name) > 0; at--) order[at] = order[at - 1]!;
      order[at] = name;
    }
  }

  /** Merges two runs of `#order` into `#merged`. */
  #merge(start: number, middle: number, end: number): void {
    const order = this.#order;
    const merged = this.#merged;
    let [left, right] = [start, middle];
    for (let to = start; to < end; to++) {
      const isLeft = right === end || (left < middle && this.#compare(order[left]!, order[right]!) <= 0);
      merged[to] = isLeft ? order[left++]! : order[right++]!;
    }
  }

  #compare(a: number, b: number): number {
    return this.#keys[a]! - this.#keys[b]! || this.#compareRest(a, b);
  }

  #compareRest(a: number, b: number): number {
    const { bytes } = this;
    const startA = this.#starts[a]!;
    const startB = this.#starts[b]!;
    const lengthA = this.#starts[a + 1]! - startA;
    const lengthB = this.#starts[b + 1]! - startB;
    const length = Math.min(lengthA, lengthB);
    for (let i = 6; i < length; i++) {
      const difference = bytes[startA + i]! - bytes[startB + i]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }
}

/** The first six bytes as a number, which decides nearly always. */
function keyOf(bytes: Buffer, start: number, length: number): number {
  let key = 0;
  for (let i = 0; i < 6; i++) key = key * 256 + (i < length ? bytes[start + i]! : 0);
  return key;
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
