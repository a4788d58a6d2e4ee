import { type EntryState, EntryType } from '../model/entry.ts';
import * as posix from '../posix/index.ts';
import type { BlockReader } from './block-reader.ts';

const isRoot = posix.geteuid() === 0;
const SETUID_SETGID = 0o6000;

/** Values of a state's extended attributes. */
async function valuesOf(
  state: EntryState,
  reader: BlockReader,
): Promise<Map<string, { name: Buffer; value: Buffer }>> {
  const values = new Map<string, { name: Buffer; value: Buffer }>();
  for (const { name, value } of state.xattrs) {
    const bytes = value instanceof Uint8Array ? value : await reader.read(value.id, value.length);
    values.set(name.toString('latin1'), { name, value: bytes });
  }
  return values;
}

async function setXattrs(
  dirFd: number,
  name: Buffer,
  fd: number | undefined,
  state: EntryState,
  reader: BlockReader,
): Promise<void> {
  const wanted = await valuesOf(state, reader);
  const there = fd === undefined ? posix.listXattrsAt(dirFd, name) : posix.listXattrs(fd);
  if (typeof there === 'number') {
    if (wanted.size > 0) posix.check(there, 'listxattr');
    return;
  }
  for (const attribute of there) {
    if (wanted.has(attribute.toString('latin1'))) continue;
    posix.check(
      fd === undefined ? posix.removeXattrAt(dirFd, name, attribute) : posix.removeXattr(fd, attribute),
      'removexattr',
    );
  }
  for (const { name: attribute, value } of wanted.values()) {
    const now = fd === undefined ? posix.getXattrAt(dirFd, name, attribute) : posix.getXattr(fd, attribute);
    if (typeof now !== 'number' && now.equals(value)) continue;
    posix.check(
      fd === undefined
        ? posix.setXattrAt(dirFd, name, attribute, value)
        : posix.setXattr(fd, attribute, value),
      'setxattr',
    );
  }
}

/**
 * Owner, extended attributes and ACLs, mode, times, in this order: a change of owner drops capabilities and setuid.
 * `fd`: the open file or directory; without it by name in the directory, never through a symlink. Gives false when the
 * owner could not be set because the process is not root; setuid and setgid are left out then.
 */
export async function applyAttributes(
  dirFd: number,
  name: Buffer,
  fd: number | undefined,
  state: EntryState,
  reader: BlockReader,
): Promise<boolean> {
  const owned = chown(dirFd, name, fd, state);
  await setXattrs(dirFd, name, fd, state, reader);
  const mode = owned ? state.mode : state.mode & ~SETUID_SETGID;
  if (fd !== undefined) posix.check(posix.fchmod(fd, mode), 'fchmod');
  else if (state.type !== EntryType.symlink) posix.check(posix.fchmodat(dirFd, name, mode), 'fchmodat');
  if (fd !== undefined) posix.check(posix.futimens(fd, state.mtimeSec, state.mtimeNsec), 'futimens');
  else posix.check(posix.utimensat(dirFd, name, state.mtimeSec, state.mtimeNsec), 'utimensat');
  return owned;
}

function chown(dirFd: number, name: Buffer, fd: number | undefined, state: EntryState): boolean {
  const result =
    fd === undefined
      ? posix.fchownat(dirFd, name, state.uid, state.gid)
      : posix.fchownat(fd, Buffer.alloc(0), state.uid, state.gid, posix.AT_EMPTY_PATH);
  if (result === 0) return true;
  if (!isRoot && result === -posix.EPERM) return false;
  posix.check(result, 'fchownat');
  return false;
}
