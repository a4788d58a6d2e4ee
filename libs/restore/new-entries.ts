import type { EntryState } from '../model/entry.ts';
import { EntryType } from '../model/entry.ts';
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

/**
 * Sets the attributes of entries just made in one directory. What an entry gets by itself there (owner by setgid or
 * mount option, inherited ACL, security label) is the same for all of its kind, so the first one is looked at and
 * the others are not unless it had attributes.
 */
export class NewEntries {
  readonly #isRoot: boolean;
  readonly #stat: posix.Stat;
  readonly #known = new Map<'file' | 'other', LocalAttributes>();

  constructor(isRoot: boolean, stat: posix.Stat) {
    this.#isRoot = isRoot;
    this.#stat = stat;
  }

  set(handle: EntryHandle, state: EntryState, wanted: readonly Attribute[]): AttributeResult {
    const steps = planAttributes(this.#local(handle, state), state, wanted, this.#isRoot);
    return applyAttributes(handle, state, steps, this.#isRoot);
  }

  #local(handle: EntryHandle, state: EntryState): LocalAttributes {
    const kind = state.type === EntryType.file ? 'file' : 'other';
    const known = this.#known.get(kind);
    if (known?.xattrs.length === 0) return known;
    const { dirFd, name, fd } = handle;
    const found = fd === undefined ? posix.statx(dirFd, name, this.#stat) : posix.fstat(fd, this.#stat);
    posix.check(found, 'statx', name);
    const { uid, gid, mode } = this.#stat;
    const local = { uid, gid, mode, mtime: undefined, xattrs: readXattrs(handle) };
    this.#known.set(kind, local);
    return local;
  }
}
