import { getSystemErrorMap } from 'node:util';
import { toText } from '../model/byte-text.ts';
import { DigestSum } from '../model/digests.ts';
import {
  baseName,
  MAX_NAME_BYTES,
  MAX_PATH_BYTES,
  parentPath,
  type TreePath,
  toSlashes,
} from '../model/tree-path.ts';
import {
  close,
  DT_DIR,
  DT_UNKNOWN,
  ENOENT,
  ESTALE,
  errnoName,
  FS_TYPE,
  fstat,
  fstatfsType,
  openDirAt,
  S_IFDIR,
  S_IFREG,
  S_IFSOCK,
  Stat,
  statx,
} from '../posix/index.ts';
import { CACHE_TAG } from './directory-rules.ts';
import type { WalkedDirectory } from './directory-stack.ts';
import { throwIfExhausted } from './exhausted.ts';
import type { OpenDirectory } from './open-directory.ts';
import type { Outbox } from './outbox.ts';
import { RacyRule } from './racy.ts';
import type { ComparisonOptions, MovedFrom, SkippedDirectory } from './scan-options.ts';
import {
  copyStat,
  fileSize,
  fileType,
  isEntryType,
  RAW_STAT_BYTES,
  STAT_WORDS,
  sameStat,
  wordsOf,
} from './stat-record.ts';
import type { StateCursor } from './state-cursor.ts';
import { StateFlag } from './state-format.ts';
import type { Reason, ScanTotals } from './steps.ts';
import { Visit } from './subdirectories.ts';

const NO_NAME = Buffer.alloc(0);
const { untrusted, mountpoint, racy } = StateFlag;

const TOO_LONG: Reason = {
  code: 1112,
  message: `paths over ${MAX_PATH_BYTES} or names over ${MAX_NAME_BYTES} bytes`,
};
const SOCKET: Reason = { code: 1114, message: 'a socket' };
const KERNEL_VIEW: Reason = { code: 1115, message: 'proc or sysfs is mounted there' };
const ODD: Reason = { code: 1110, message: 'a file of unknown type' };
export const UNMOUNTED: Reason = { code: 1113, message: 'no file system is mounted there any more' };

export function unreadable(errno: number): Reason {
  const isMoved = Math.abs(errno) === ESTALE;
  const text = isMoved ? 'it was moved meanwhile' : getSystemErrorMap().get(-Math.abs(errno))?.[1];
  return { code: 1110, message: `${text ?? 'system error'} (${errnoName(errno)})` };
}

/** As a mount below `directory`, of what was just statted there. */
export function isMountBelow(directory: WalkedDirectory, stat: Stat): boolean {
  const { mountId } = stat;
  if (mountId !== 0n && directory.mountId !== 0n) return mountId !== directory.mountId;
  return stat.isMountRoot ?? stat.dev !== directory.dev;
}

export const isSkipped = (skip: readonly SkippedDirectory[], { ino, devMajor, devMinor }: Stat): boolean =>
  skip.some((one) => one.ino === ino && one.devMajor === devMajor && one.devMinor === devMinor);

/**
 * Decides on one name after the other: compares it with the state and writes what follows to the outbox and to the
 * new state. `known` means that the reader's present entry is of this name; the caller moves on from it.
 */
export class Comparison {
  /** Sum of the entry hashes of all that was kept: it is part of the tree without having been read. */
  readonly keptDigest = new DigestSum();
  readonly totals: ScanTotals = { files: 0, directories: 0, others: 0, bytes: 0, unchanged: 0 };
  readonly #options: ComparisonOptions;
  readonly #state: StateCursor;
  readonly #outbox: Outbox;
  readonly #stat = new Stat();
  readonly #statWords = wordsOf(this.#stat);
  readonly #rawStat = this.#stat.buffer.subarray(0, RAW_STAT_BYTES);
  readonly #record = new Int32Array(STAT_WORDS);
  readonly #racy: RacyRule;
  readonly #rootDev: bigint;

  constructor(options: ComparisonOptions, state: StateCursor, outbox: Outbox, rootDev: bigint) {
    this.#options = options;
    this.#state = state;
    this.#outbox = outbox;
    this.#rootDev = rootDev;
    this.#racy = new RacyRule(options.startedAt, options.clockGranularityNs);
  }

  /** The root's own entry. 0 or -errno. */
  root(directory: WalkedDirectory, open: OpenDirectory, known: boolean): number {
    const error = fstat(open.fd, this.#stat);
    if (error < 0) return error;
    copyStat(this.#statWords, this.#record, 0);
    if (this.#isUnchanged(directory, NO_NAME, known)) this.#keepUnchanged(NO_NAME, 0);
    else this.#work(directory, open, NO_NAME, known, 0);
    return 0;
  }

  /**
   * A name that was listed; or, when `known`, one that was not: then it is looked for, since the listing of a
   * directory that changes meanwhile may miss names.
   */
  entry(directory: WalkedDirectory, open: OpenDirectory, name: Buffer, type: number, known: boolean): void {
    this.#outbox.looked();
    if (directory.leavesOut && this.#isExcluded(directory, open, name, type)) {
      this.#leave(directory, name, known);
      return;
    }
    const error = statx(open.fd, name, this.#stat);
    if (error < 0) this.#unseen(directory, name, known, error);
    else this.#seen(directory, open, name, known);
  }

  #seen(directory: WalkedDirectory, open: OpenDirectory, name: Buffer, known: boolean): void {
    copyStat(this.#statWords, this.#record, 0);
    const type = fileType(this.#record, 0);
    if (known && this.#wasMount() && !(type === S_IFDIR && isMountBelow(directory, this.#stat))) {
      this.#keep(directory, name, known, UNMOUNTED);
    } else if (directory.path.length + 1 + name.length > MAX_PATH_BYTES) {
      this.#leave(directory, name, known);
      this.tooLong(directory);
    } else if (type === S_IFDIR) {
      this.#directory(directory, open, name, known);
    } else if (type === S_IFSOCK) {
      this.#outbox.note(directory.path, name, SOCKET);
      this.#leave(directory, name, known);
    } else if (!isEntryType(type)) {
      this.#keep(directory, name, known, ODD);
    } else if (this.#isUnchanged(directory, name, known)) {
      this.#keepUnchanged(name, 0);
    } else {
      this.#work(directory, open, name, known, 0);
    }
  }

  /** A name or path below the directory is longer than a backup holds; said once. */
  tooLong(directory: WalkedDirectory): void {
    if (directory.hasLongPaths) return;
    directory.hasLongPaths = true;
    this.#outbox.note(parentPath(directory.path), baseName(directory.path), TOO_LONG);
  }

  /** The reader's present entry stays as it was. */
  keepKnown(flags: number): void {
    this.#options.stateWriter.copy(this.#state, flags);
    this.keptDigest.add(this.#state.hash);
    this.count(this.#state.words, this.#state.statAt);
  }

  #directory(directory: WalkedDirectory, open: OpenDirectory, name: Buffer, known: boolean): void {
    if (isSkipped(this.#options.skip, this.#stat)) {
      this.#leave(directory, name, known);
      return;
    }
    const isMount = isMountBelow(directory, this.#stat);
    const isView = isMount && isKernelView(open.fd, name);
    if (isView) this.#outbox.note(directory.path, name, KERNEL_VIEW);
    const isForeign = isView || (this.#options.oneFileSystem && this.#stat.dev !== this.#rootDev);
    const flags = isMount && !isForeign ? mountpoint : 0;
    let visit: Visit = Visit.walk;
    let handle: number;
    if (this.#isUnchanged(directory, name, known)) handle = this.#keepUnchanged(name, flags);
    else {
      const error = isForeign ? 0 : tryOpening(open.fd, name);
      if (error < 0) {
        this.#unseen(directory, name, known, error);
        return;
      }
      handle = this.#work(directory, open, name, known, flags);
      visit = Visit.walkEmitted;
    }
    if (!isForeign) directory.subdirectories.push(name, visit, isMount, handle);
  }

  #isUnchanged({ path }: WalkedDirectory, name: Buffer, known: boolean): boolean {
    if (!known || this.#options.readAll || this.#options.reread?.has(path, name)) return false;
    const state = this.#state;
    return (state.flags & (untrusted | racy)) === 0 && sameStat(this.#record, 0, state.words, state.statAt);
  }

  #keepUnchanged(name: Buffer, flags: number): number {
    this.totals.unchanged++;
    this.count(this.#record, 0);
    return this.#options.stateWriter.appendKnown(name, this.#record, 0, flags, this.#state);
  }

  #work(directory: WalkedDirectory, open: OpenDirectory, name: Buffer, known: boolean, base: number): number {
    this.count(this.#record, 0);
    const flags = this.#racy.applies(this.#record, 0) ? base | racy : base;
    const previousHash = known ? this.#state.hash : undefined;
    const unread = known ? untrusted : StateFlag.void;
    const handle = this.#options.stateWriter.append(name, this.#record, 0, flags | unread, previousHash);
    this.#outbox.work(open, directory.path, {
      handle,
      name: Buffer.from(name),
      stat: Buffer.from(this.#rawStat),
      size: fileSize(this.#record, 0),
      previousHash,
      from: this.#from(directory, name),
    });
    return handle;
  }

  /** Of a directory that came by a rename, what in it is as it was needs no reading. */
  #from({ from, path }: WalkedDirectory, name: Buffer): MovedFrom | undefined {
    if (!from || this.#options.reread?.has(path, name)) return undefined;
    return this.#options.moved?.entry(from, name, this.#record);
  }

  /** It can't be looked at: gone where that is certain, else as it was. */
  #unseen(directory: WalkedDirectory, name: Buffer, known: boolean, error: number): void {
    throwIfExhausted(error);
    if (error !== -ENOENT) this.#keep(directory, name, known, unreadable(error));
    else if (known && this.#wasMount()) this.#keep(directory, name, known, UNMOUNTED);
    else this.#leave(directory, name, known);
  }

  #keep(directory: WalkedDirectory, name: Buffer, known: boolean, reason: Reason): void {
    this.#outbox.kept(directory.path, name, reason);
    if (!known) return;
    this.keepKnown(untrusted);
    const isDirectory = fileType(this.#state.words, this.#state.statAt) === S_IFDIR;
    if (isDirectory) directory.subdirectories.push(name, Visit.keep, false, 0);
  }

  /** It is no part of the tree; what is known below it is found to be gone later, since nothing visits it. */
  #leave(directory: WalkedDirectory, name: Buffer, known: boolean): void {
    if (known) this.#outbox.gone(directory.path, name, this.#state.hash);
  }

  #wasMount(): boolean {
    return (this.#state.flags & mountpoint) !== 0;
  }

  #isExcluded(directory: WalkedDirectory, open: OpenDirectory, name: Buffer, type: number): boolean {
    const { rules, isCache } = directory.leftOut;
    if (isCache && !name.equals(CACHE_TAG)) return true;
    if (rules.isEmpty) return false;
    const isDirectory =
      type === DT_UNKNOWN
        ? statx(open.fd, name, this.#stat) === 0 && this.#stat.type === S_IFDIR
        : type === DT_DIR;
    directory.text ??= textOf(directory.path);
    return rules.excludes(directory.text + toText(name), isDirectory);
  }

  /** Adds to the totals an entry that is part of the tree, by its stat record. */
  count(stat: Int32Array, at: number): void {
    const type = fileType(stat, at);
    if (type === S_IFREG) {
      this.totals.files++;
      this.totals.bytes += fileSize(stat, at);
    } else if (type === S_IFDIR) this.totals.directories++;
    else this.totals.others++;
  }
}

const textOf = (path: TreePath): string => (path.length === 0 ? '' : `${toText(toSlashes(path))}/`);

/** Whether what is mounted there shows the state of the kernel instead of files: without end, and of use to nobody. */
function isKernelView(fd: number, name: Buffer): boolean {
  const opened = openDirAt(fd, name);
  if (opened < 0) return false;
  const type = fstatfsType(opened);
  close(opened);
  return type === FS_TYPE.proc || type === FS_TYPE.sysfs;
}

/** 0 or -errno. */
function tryOpening(fd: number, name: Buffer): number {
  const opened = openDirAt(fd, name);
  if (opened < 0) return opened;
  close(opened);
  return 0;
}
