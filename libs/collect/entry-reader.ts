import { BlockKind } from '../blocks/intake.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { KeyedHasher } from '../model/digests.ts';
import { EntryFlag, EntryType, encodeHints, encodeState, type Xattr } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import { PosixError, Stat } from '../posix/index.ts';
import type { BlockBatch } from './block-batch.ts';
import type { Content, ContentReader } from './content-reader.ts';
import { RacyTimes } from './racy-times.ts';

/** Values longer than this are blocks. */
const MAX_INLINE_XATTR = 1024;
const NONE = Buffer.alloc(0);

const TYPES = new Map<number, EntryType>([
  [posix.S_IFREG, EntryType.file],
  [posix.S_IFDIR, EntryType.directory],
  [posix.S_IFLNK, EntryType.symlink],
  [posix.S_IFIFO, EntryType.fifo],
  [posix.S_IFCHR, EntryType.charDevice],
  [posix.S_IFBLK, EntryType.blockDevice],
]);

export interface ReadEntry {
  /** As `hints` in the reader's memory, until the next entry is read. */
  readonly state: Buffer;
  readonly hints: Buffer;
  /** False: read it again next time. */
  readonly trusted: boolean;
  /** It changed while it was read, twice. */
  readonly inconsistent: boolean;
  /** Of a directory: why it is recorded without its extended attributes. */
  readonly lacking: PosixError | undefined;
}

interface Readers {
  readonly content: ContentReader;
  readonly batch: BlockBatch;
  readonly linkIds: KeyedHasher;
  readonly users: ReadonlyMap<number, string>;
  readonly groups: ReadonlyMap<number, string>;
  readonly rootDev: bigint;
  readonly startedAtNs: bigint;
  readonly granularityNs: bigint;
}

const checked = <T extends object>(result: T | number, call: string): T => {
  if (typeof result === 'number') throw new PosixError(-result, call);
  return result;
};

const opened = (result: number, call: string): number => {
  if (result < 0) throw new PosixError(-result, call);
  return result;
};

/** Reads one entry by its directory's handle: attributes, target or content, and gives its encoded state and hints. */
export class EntryReader {
  readonly #readers: Readers;
  readonly #before = new Stat();
  readonly #after = new Stat();
  readonly #out = new ByteWriter(8192);
  readonly #racy: RacyTimes;

  constructor(readers: Readers) {
    this.#readers = readers;
    this.#racy = new RacyTimes(readers.startedAtNs, readers.granularityNs);
  }

  /**
   * Throws PosixError; ENOENT means that it vanished, as no directory does. `walked` is what the walk saw. A promise only
   * where content has to wait for room or was changed meanwhile.
   */
  read(dirFd: number, name: Buffer, walked: Stat): ReadEntry | Promise<ReadEntry> {
    if (walked.type === posix.S_IFREG) return this.#file(dirFd, name, walked);
    const type = TYPES.get(walked.type);
    if (!type) throw new PosixError(posix.ENOENT, 'statx');
    const target = type === EntryType.symlink ? checked(posix.readlinkat(dirFd, name), 'readlink') : NONE;
    const attributes = () => (name.length === 0 ? this.#xattrsOf(dirFd) : this.#xattrsAt(dirFd, name));
    if (type !== EntryType.directory)
      return this.#encode(walked, type, target, attributes(), undefined, true);
    const { xattrs, lacking } = orLacking(attributes);
    const entry = this.#encode(walked, type, target, xattrs, undefined, true, lacking === undefined);
    return { ...entry, lacking };
  }

  #file(dirFd: number, name: Buffer, walked: Stat): ReadEntry | Promise<ReadEntry> {
    const flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_NOCTTY;
    const fd = opened(posix.openat(dirFd, name, flags), 'open');
    let isPassedOn = false;
    try {
      const content = this.#contentOf(fd);
      const entry = content instanceof Promise ? undefined : this.#fileEntry(fd, content, walked, false);
      if (entry) return entry;
      isPassedOn = true;
      return this.#fileLater(fd, content, walked);
    } finally {
      if (!isPassedOn) posix.close(fd);
    }
  }

  /** Goes on where the first content has to be waited for or mixes two moments; closes the file. */
  async #fileLater(fd: number, first: Content | Promise<Content>, walked: Stat): Promise<ReadEntry> {
    try {
      const entry = first instanceof Promise ? this.#fileEntry(fd, await first, walked, false) : undefined;
      return entry ?? this.#fileEntry(fd, await this.#contentOf(fd), walked, true)!;
    } finally {
      posix.close(fd);
    }
  }

  #contentOf(fd: number): Content | Promise<Content> {
    opened(posix.fstat(fd, this.#before), 'fstat');
    if (this.#before.type !== posix.S_IFREG) throw new PosixError(posix.ENOENT, 'open');
    const sparse = this.#before.allocatedNumber < this.#before.sizeNumber;
    return this.#readers.content.read(fd, this.#before.sizeNumber, sparse);
  }

  /** Undefined where the file changed while it was read, unless this is the last attempt. */
  #fileEntry(fd: number, content: Content, walked: Stat, isLast: boolean): ReadEntry | undefined {
    const xattrs = this.#xattrsOf(fd);
    opened(posix.fstat(fd, this.#after), 'fstat');
    const steady = this.#before.hasTimesAndSizeOf(this.#after) && content.size === this.#after.sizeNumber;
    if (!steady && !isLast) return undefined;
    const asWalked = walked.hasTimesAndSizeOf(this.#after);
    return this.#encode(this.#after, EntryType.file, NONE, xattrs, content, steady, asWalked);
  }

  #xattrsOf(fd: number): Xattr[] {
    const names = posix.listXattrs(fd);
    if (typeof names === 'number') return noXattrs(names);
    return this.#values(names, (name) => posix.getXattr(fd, name));
  }

  #xattrsAt(dirFd: number, name: Buffer): Xattr[] {
    const names = posix.listXattrsAt(dirFd, name);
    if (typeof names === 'number') return noXattrs(names);
    return this.#values(names, (attribute) => posix.getXattrAt(dirFd, name, attribute));
  }

  #values(names: readonly Buffer[], get: (name: Buffer) => Buffer | number): Xattr[] {
    const xattrs: Xattr[] = [];
    for (const name of names) {
      const value = get(name);
      if (value === -posix.ENODATA) continue; // it was removed since it was listed
      const bytes = checked(value, 'getxattr');
      if (bytes.length <= MAX_INLINE_XATTR) xattrs.push({ name, value: bytes });
      else
        xattrs.push({
          name,
          value: { id: this.#readers.batch.add(bytes, BlockKind.data), length: bytes.length },
        });
    }
    return xattrs;
  }

  #linkGroup(stat: Stat): bigint {
    if (stat.nlink < 2 || stat.type === posix.S_IFDIR) return 0n;
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(stat.ino, 0);
    bytes.writeBigUInt64LE(stat.dev === this.#readers.rootDev ? 0n : BigInt.asUintN(64, stat.dev + 1n), 8);
    return this.#readers.linkIds.digest(bytes).readBigUInt64LE(0) | 1n;
  }

  #encode(
    stat: Stat,
    type: EntryType,
    target: Buffer,
    xattrs: readonly Xattr[],
    content: Content | undefined,
    steady: boolean,
    asWalked = true,
  ): ReadEntry {
    const { users, groups } = this.#readers;
    const device = type === EntryType.charDevice || type === EntryType.blockDevice;
    const out = this.#out;
    out.clear();
    encodeState(
      {
        type,
        flags: steady ? 0 : EntryFlag.inconsistent,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        user: users.get(stat.uid) ?? '',
        group: groups.get(stat.gid) ?? '',
        mtimeSec: stat.mtimeSec,
        mtimeNsec: stat.mtimeNsec,
        size: content?.size ?? 0,
        linkGroup: this.#linkGroup(stat),
        rdevMajor: device ? stat.rdevMajor : 0,
        rdevMinor: device ? stat.rdevMinor : 0,
        target,
        xattrs,
        digest: content?.digest,
        recipe: content?.recipe,
      },
      out,
    );
    const state = out.view();
    const trusted = steady && asWalked && !this.#racy.has(stat);
    // Hints that can't be trusted are zeros, which match nothing.
    const hints = trusted
      ? {
          ctimeSec: stat.ctimeSec,
          ctimeNsec: stat.ctimeNsec,
          dev: stat.dev,
          ino: stat.ino,
          nlink: stat.nlink,
        }
      : { ctimeSec: 0n, ctimeNsec: 0, dev: 0n, ino: 0n, nlink: 0 };
    encodeHints(hints, out);
    return { state, hints: out.view(state.length), trusted, inconsistent: !steady, lacking: undefined };
  }
}

/**
 * What lies below a directory can't be restored without its entry. So this costs its attributes only, ENOENT too: it
 * was renamed since it was listed, and what is in it is read by its handle.
 */
function orLacking(read: () => Xattr[]): { xattrs: Xattr[]; lacking: PosixError | undefined } {
  try {
    return { xattrs: read(), lacking: undefined };
  } catch (error) {
    if (!(error instanceof PosixError)) throw error;
    return { xattrs: [], lacking: error };
  }
}

/** No attributes where the file system has none. */
function noXattrs(result: number): Xattr[] {
  if (result === -posix.EOPNOTSUPP) return [];
  throw new PosixError(-result, 'listxattr');
}
