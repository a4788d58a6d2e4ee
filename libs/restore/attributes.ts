import { type EntryHead, EntryType } from '../model/entry.ts';
import * as posix from '../posix/index.ts';

export interface Attribute {
  readonly name: Buffer;
  readonly value: Buffer;
}

/** What an entry of the target has now. `mtime` undefined: whatever it is, it has to be set. */
export interface LocalAttributes {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly mtime: { readonly sec: bigint; readonly nsec: number } | undefined;
  readonly xattrs: readonly Attribute[];
}

/** The calls that make the one the other; none: it has what it should have. */
export interface AttributeSteps {
  readonly chown: boolean;
  readonly remove: readonly Buffer[];
  readonly set: readonly Attribute[];
  /** Undefined: it stays. */
  readonly mode: number | undefined;
  readonly times: boolean;
  /** The owner stays another one, for want of root; setuid and setgid are left out then. */
  readonly ownerKept: boolean;
}

const SETUID_SETGID = 0o6000;
const CAPABILITY = Buffer.from('security.capability');

const NO_NAMES: readonly Buffer[] = [];
const NO_ATTRIBUTES: readonly Attribute[] = [];

const namesToRemove = (there: readonly Attribute[], wanted: readonly Attribute[]): Buffer[] =>
  there.filter(({ name }) => !wanted.some((one) => one.name.equals(name))).map(({ name }) => name);

const attributesToSet = (there: readonly Attribute[], wanted: readonly Attribute[]): Attribute[] =>
  wanted.filter(({ name, value }) => !there.some((one) => one.name.equals(name) && one.value.equals(value)));

/** Plans the attributes of one entry. Without root only a file of the user's own may get another group. */
export function planAttributes(
  local: LocalAttributes,
  state: EntryHead,
  wanted: readonly Attribute[],
  isRoot: boolean,
): AttributeSteps {
  const differs = local.uid !== state.uid || local.gid !== state.gid;
  const ownerKept = !isRoot && local.uid !== state.uid;
  const chown = differs && !ownerKept;
  // A change of owner drops capabilities, setuid and setgid.
  const there = chown ? local.xattrs.filter(({ name }) => !name.equals(CAPABILITY)) : local.xattrs;
  const remove = there.length === 0 ? NO_NAMES : namesToRemove(there, wanted);
  const set = wanted.length === 0 ? NO_ATTRIBUTES : attributesToSet(there, wanted);
  const mode = ownerKept ? state.mode & ~SETUID_SETGID : state.mode;
  // An ACL is a part of the mode, so that the mode comes after it.
  const touched = remove.length > 0 || set.length > 0 || (chown && (mode & SETUID_SETGID) !== 0);
  const chmod = state.type !== EntryType.symlink && (touched || mode !== local.mode);
  const times = local.mtime?.sec !== state.mtimeSec || local.mtime.nsec !== state.mtimeNsec;
  return { chown, remove, set, mode: chmod ? mode : undefined, times, ownerKept };
}

export const changesNothing = ({ chown, remove, set, mode, times }: AttributeSteps): boolean =>
  !chown && remove.length === 0 && set.length === 0 && mode === undefined && !times;

/** An entry by its open file or directory, or without one by name in a directory, never through a symlink. */
export interface EntryHandle {
  readonly dirFd: number;
  readonly name: Buffer;
  readonly fd: number | undefined;
}

/** What kept an attribute from being set although the entry itself is restored. */
export interface AttributeResult {
  readonly ownerKept: boolean;
  readonly problems: readonly string[];
}

/** Owner, extended attributes and ACLs, mode, times, in this order. Throws PosixError where owner, mode or times fail. */
export function applyAttributes(
  { dirFd, name, fd }: EntryHandle,
  state: EntryHead,
  steps: AttributeSteps,
  isRoot: boolean,
): AttributeResult {
  const problems: string[] = [];
  let { ownerKept, mode } = steps;
  if (steps.chown && !chown(dirFd, name, fd, state, isRoot)) {
    ownerKept = true;
    mode = state.type === EntryType.symlink ? undefined : state.mode & ~SETUID_SETGID;
  }
  const fill = (result: number, call: string, attribute: Buffer) => {
    if (result < 0) problems.push(`${call} ${attribute.toString()}: ${posix.errnoName(result)}`);
  };
  for (const attribute of steps.remove) {
    const removed =
      fd === undefined ? posix.removeXattrAt(dirFd, name, attribute) : posix.removeXattr(fd, attribute);
    // Labels that the system gives every file cannot be taken away.
    if (!attribute.toString('latin1').startsWith('security.')) fill(removed, 'removexattr', attribute);
  }
  for (const { name: attribute, value } of steps.set) {
    const result =
      fd === undefined
        ? posix.setXattrAt(dirFd, name, attribute, value)
        : posix.setXattr(fd, attribute, value);
    fill(result, 'setxattr', attribute);
  }
  if (mode !== undefined) {
    if (fd !== undefined) posix.check(posix.fchmod(fd, mode), 'fchmod');
    else posix.check(posix.fchmodat(dirFd, name, mode), 'fchmodat');
  }
  if (steps.times) {
    if (fd !== undefined) posix.check(posix.futimens(fd, state.mtimeSec, state.mtimeNsec), 'futimens');
    else posix.check(posix.utimensat(dirFd, name, state.mtimeSec, state.mtimeNsec), 'utimensat');
  }
  return { ownerKept, problems };
}

/** False where the system refuses it for want of root. */
function chown(
  dirFd: number,
  name: Buffer,
  fd: number | undefined,
  state: EntryHead,
  isRoot: boolean,
): boolean {
  const result =
    fd === undefined
      ? posix.fchownat(dirFd, name, state.uid, state.gid)
      : posix.fchownat(fd, NO_NAME, state.uid, state.gid, posix.AT_EMPTY_PATH);
  if (result === -posix.EPERM && !isRoot) return false;
  posix.check(result, 'fchownat');
  return true;
}

const NO_NAME = Buffer.alloc(0);

/** Extended attributes that are there; none where the file system has none. */
export function readXattrs({ dirFd, name, fd }: EntryHandle): Attribute[] {
  const names = fd === undefined ? posix.listXattrsAt(dirFd, name) : posix.listXattrs(fd);
  if (names === -posix.EOPNOTSUPP) return [];
  return posix.check<Buffer[]>(names, 'listxattr').flatMap((attribute) => {
    const value = fd === undefined ? posix.getXattrAt(dirFd, name, attribute) : posix.getXattr(fd, attribute);
    if (value === -posix.ENODATA) return [];
    return [{ name: attribute, value: posix.check<Buffer>(value, 'getxattr') }];
  });
}

export const localAttributes = (stat: posix.Stat, xattrs: readonly Attribute[]): LocalAttributes => ({
  uid: stat.uid,
  gid: stat.gid,
  mode: stat.mode,
  mtime: { sec: stat.mtimeSec, nsec: stat.mtimeNsec },
  xattrs,
});
