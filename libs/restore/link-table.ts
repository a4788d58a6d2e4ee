import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { EntryRecord } from '../model/records.ts';
import type { LinkOutcome } from './protocol.ts';
import { ScratchFile } from './scratch-file.ts';

type Place = Pick<EntryRecord, 'dir' | 'name'>;

/** u64 link group (0: empty), u48 position of the first name plus one, u16 outcome. */
const SLOT_BYTES = 16;
const FIRST_SLOTS = 1024;

/**
 * First names of link groups, in a file: an open-addressing hash table at most half full, so that trees full of hard
 * links take no memory either.
 */
export class LinkTable {
  readonly #folder: string;
  #slots: ScratchFile;
  readonly #names: ScratchFile;
  #size = FIRST_SLOTS;
  #groups = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#slots = new ScratchFile(folder);
    this.#names = new ScratchFile(folder);
  }

  #find(group: bigint): { at: number; slot: Buffer } {
    const mask = BigInt(this.#size) - 1n;
    for (let index = group & mask; ; index = (index + 1n) & mask) {
      const at = Number(index) * SLOT_BYTES;
      const slot = this.#slots.read(at, SLOT_BYTES);
      const there = slot.readBigUInt64LE(0);
      if (there === group || there === 0n) return { at, slot };
    }
  }

  /** True for the first name of its group, which is remembered. */
  isFirst(group: bigint, { dir, name }: Place): boolean {
    const { at, slot } = this.#find(group);
    if (slot.readBigUInt64LE(0) !== 0n) return false;
    const out = new ByteWriter(dir.length + name.length + 3);
    out.u16(dir.length);
    out.bytes(dir);
    out.u8(name.length);
    out.bytes(name);
    slot.writeBigUInt64LE(group, 0);
    slot.writeUIntLE(this.#names.append(out.finish()) + 1, 8, 6);
    this.#slots.write(at, slot);
    if (2 * ++this.#groups >= this.#size) this.#grow();
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    const end = this.#size * SLOT_BYTES;
    this.#slots = new ScratchFile(this.#folder);
    this.#size *= 2;
    for (let at = 0; at < end; at += FIRST_SLOTS * SLOT_BYTES) {
      const some = old.read(at, FIRST_SLOTS * SLOT_BYTES);
      for (let from = 0; from < some.length; from += SLOT_BYTES) {
        const group = some.readBigUInt64LE(from);
        if (group !== 0n) this.#slots.write(this.#find(group).at, some.subarray(from, from + SLOT_BYTES));
      }
    }
    old.close();
  }

  setOutcome(group: bigint, outcome: LinkOutcome): void {
    const { at, slot } = this.#find(group);
    slot.writeUInt16LE(outcome, 14);
    this.#slots.write(at, slot);
  }

  /** The first name and what became of it; undefined outcome: nothing was reported. */
  first(group: bigint): Place & { readonly outcome: LinkOutcome | undefined } {
    const { slot } = this.#find(group);
    const input = new ByteReader(this.#names.read(slot.readUIntLE(8, 6) - 1, 4096 + 258));
    const dir = input.bytes(input.u16());
    const name = input.bytes(input.u8());
    const outcome = slot.readUInt16LE(14);
    return { dir, name, outcome: outcome === 0 ? undefined : (outcome as LinkOutcome) };
  }

  close(): void {
    this.#slots.close();
    this.#names.close();
  }
}
