import { S_IFDIR, S_IFMT, STATX_OFFSETS, type Stat } from '../../posix/index.ts';

/** What of statx makes an entry's fingerprint: [offset, bytes]. Neither access times nor space. */
const FIELDS: readonly (readonly [number, number])[] = [
  [STATX_OFFSETS.nlink, 14], // nlink, uid, gid, mode
  [STATX_OFFSETS.ino, 16], // ino, size
  [STATX_OFFSETS.ctimeSec, 12],
  [STATX_OFFSETS.mtimeSec, 12],
  [STATX_OFFSETS.rdevMajor, 16], // rdev, dev
];
const MODE_IN_FINGERPRINT = 12;
const FINGERPRINT_BYTES = FIELDS.reduce((sum, [, length]) => sum + length, 0);
/** A byte for the name's length and one that says whether the entry may change on without a trace in its times. */
const HEADER_BYTES = 2;
const MAX_ENTRY_BYTES = HEADER_BYTES + 255 + FINGERPRINT_BYTES;

/** The entries of one directory in the order in which they were added, packed: some 90 bytes each. */
export type DirectoryRecord = Buffer;

/** Makes records, one after the other. Names have one char for each byte, and come in sorted order. */
export class RecordWriter {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #end = 0;

  add(name: string, stat: Stat, isRacy: boolean): void {
    if (this.#end + MAX_ENTRY_BYTES > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    const bytes = this.#bytes;
    bytes[this.#end] = name.length;
    bytes[this.#end + 1] = isRacy ? 1 : 0;
    this.#end += HEADER_BYTES + bytes.write(name, this.#end + HEADER_BYTES, 'latin1');
    for (const [offset, length] of FIELDS) {
      stat.buffer.copy(bytes, this.#end, offset, offset + length);
      this.#end += length;
    }
  }

  finish(): DirectoryRecord {
    const record = Buffer.from(this.#bytes.subarray(0, this.#end));
    this.#end = 0;
    return record;
  }
}

class Cursor {
  readonly #bytes: DirectoryRecord;
  #at = 0;

  constructor(bytes: DirectoryRecord) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }
  get name(): string {
    const start = this.#at + HEADER_BYTES;
    return this.#bytes.toString('latin1', start, start + this.#bytes[this.#at]!);
  }
  get isRacy(): boolean {
    return this.#bytes[this.#at + 1] === 1;
  }
  get fingerprint(): Buffer {
    const start = this.#at + HEADER_BYTES + this.#bytes[this.#at]!;
    return this.#bytes.subarray(start, start + FINGERPRINT_BYTES);
  }
  get isDirectory(): boolean {
    return (this.fingerprint.readUInt16LE(MODE_IN_FINGERPRINT) & S_IFMT) === S_IFDIR;
  }
  advance(): void {
    this.#at += HEADER_BYTES + this.#bytes[this.#at]! + FINGERPRINT_BYTES;
  }
}

export interface ChangedName {
  readonly name: string;
  /** It is one now. */
  readonly isDirectory: boolean;
}

/** Names that came, went, or whose entry may have changed between two records of a directory. */
export function changedNames(before: DirectoryRecord, now: DirectoryRecord): ChangedName[] {
  const changed: ChangedName[] = [];
  const old = new Cursor(before);
  const current = new Cursor(now);
  while (!old.done || !current.done) {
    const oldName = old.done ? undefined : old.name;
    const name = current.done ? undefined : current.name;
    const isOld = oldName !== undefined && (name === undefined || oldName <= name);
    const isCurrent = name !== undefined && (oldName === undefined || name <= oldName);
    const isSame = isOld && isCurrent && !old.isRacy && old.fingerprint.equals(current.fingerprint);
    if (!isSame)
      changed.push({ name: (isOld ? oldName : name)!, isDirectory: isCurrent && current.isDirectory });
    if (isOld) old.advance();
    if (isCurrent) current.advance();
  }
  return changed;
}
