import { type EntryHead, EntryType } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import {
  type Attribute,
  type AttributeResult,
  applyAttributes,
  type EntryHandle,
  type LocalAttributes,
  planAttributes,
  readXattrs,
} from './attributes.ts';

const PERMISSIONS = 0o777;
const OWN_MODE = 0o600;

/**
 * Makes entries of one directory what they should be. What an entry gets by itself there (owner by setgid or mount
 * option, bits that umask leaves, inherited ACL, security label) is the same for all that are made alike, so the first
 * one is looked at and the others are not unless it had attributes.
 */
export class NewEntries {
  readonly #isRoot: boolean;
  readonly #stat: posix.Stat;
  readonly #isOurs: boolean;
  /** By type, and of files the mode that they were made with. */
  readonly #known = new Map<number, LocalAttributes>();

  /** `isOurs`: this restore made the directory, 0700 until all is in it, so that nobody else can look into it. */
  constructor(isRoot: boolean, stat: posix.Stat, isOurs: boolean) {
    this.#isRoot = isRoot;
    this.#stat = stat;
    this.#isOurs = isOurs;
  }

  /**
   * What a file is to be made with: where nobody else sees it, its own mode, which then need not be set; but such that its
   * owner may write it, without which attributes are refused to whoever is not root.
   */
  modeToMake(mode: number): number {
    return this.#isOurs ? (mode & PERMISSIONS) | OWN_MODE : OWN_MODE;
  }

  /** A file has to be made with `modeToMake`. */
  set(handle: EntryHandle, state: EntryHead, wanted: readonly Attribute[]): AttributeResult {
    const steps = planAttributes(this.#local(handle, state), state, wanted, this.#isRoot);
    return applyAttributes(handle, state, steps, this.#isRoot);
  }

  #local(handle: EntryHandle, state: EntryHead): LocalAttributes {
    const mode = state.type === EntryType.file ? this.modeToMake(state.mode) : 0;
    const kind = (state.type << 16) | mode;
    const known = this.#known.get(kind);
    if (known?.xattrs.length === 0) return known;
    const { dirFd, name, fd } = handle;
    const found = fd === undefined ? posix.statx(dirFd, name, this.#stat) : posix.fstat(fd, this.#stat);
    posix.check(found, 'statx', name);
    const { uid, gid, mode: got } = this.#stat;
    const local = { uid, gid, mode: got, mtime: undefined, xattrs: readXattrs(handle) };
    this.#known.set(kind, local);
    return local;
  }
}
